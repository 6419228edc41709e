//! Which contexts are taken over, and what those did that have ended.
//!
//! A table of our own, not ex_data: ex_data belongs to the default `OSSL_LIB_CTX` of the moment,
//! where another index may have the same number. Addresses of contexts are used again, so a context
//! that begins replaces whatever state its address had.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::context::{Context, Held};
use crate::cache::Statistics;
use crate::libssl::types::CtxRef;
use crate::sync::{Addresses, is_alone};

/// From a context to its state, of which the table has one reference.
static CONTEXTS: Addresses = Addresses::new();

/// A state in the table, or found there a moment ago. No reference is counted, so its user runs no callback in which the
/// context might end.
pub(crate) type Found = ManuallyDrop<Arc<Context>>;

/// The address of no context.
const NOWHERE: usize = usize::MAX;

#[derive(Clone, Copy)]
struct Last {
    ctx: usize,
    changes: u64,
    context: usize,
}

thread_local! {
    /// The state that this thread found last, which it mostly looks for again. Without a destructor: the C
    /// library needs memory to register one, and ends the process if there is none.
    static LAST: Cell<Last> = const { Cell::new(Last { ctx: NOWHERE, changes: 0, context: 0 }) };
}

/// The state of a context that is taken over; `None` for any other.
pub(crate) fn find(ctx: CtxRef<'_>) -> Option<Arc<Context>> {
    find_borrowed(ctx).map(|context| Arc::clone(&context))
}

/// The same for a call that mostly runs no foreign code.
pub(crate) fn hold(ctx: CtxRef<'_>) -> Option<Held> {
    find_borrowed(ctx).map(Held::borrowed)
}

/// The same without counting a reference, which threads that look sessions up at once would do at one
/// place in memory.
pub(crate) fn find_borrowed(ctx: CtxRef<'_>) -> Option<Found> {
    find_at(ctx.address())
}

/// The same by the address of a context that is alive.
pub(super) fn find_at(ctx: usize) -> Option<Found> {
    let changes = CONTEXTS.changes();
    let mut last = LAST.get();
    if last.ctx != ctx || last.changes != changes {
        last = Last { ctx, changes, context: CONTEXTS.get(ctx)? };
        LAST.set(last);
    }
    Some(found(last.context))
}

/// Returns whether a context is taken over; also of one that may be gone.
pub(super) fn is_known(ctx: usize) -> bool {
    CONTEXTS.get(ctx).is_some()
}

fn found(value: usize) -> Found {
    ManuallyDrop::new(owned(value))
}

/// The reference that a value of the table stands for.
fn owned(value: usize) -> Arc<Context> {
    // SAFETY: from `Arc::into_raw`. Either taken out of the table just now; or not to be dropped, and the table has held the
    // state since it was found: no entry has changed, and if one does now it is not that of a context that is alive.
    unsafe { Arc::from_raw(value as *const Context) }
}

/// Enters a context, in place of one whose end went unnoticed. Returns whether there was memory for that.
pub(super) fn enter(context: &Arc<Context>) -> bool {
    let value = Arc::into_raw(Arc::clone(context)).addr();
    match CONTEXTS.insert(context.address(), value) {
        Ok(stale) => {
            // Its context is gone, so nothing of it may be called any more.
            stale.into_iter().for_each(note_end);
            true
        }
        Err(_) => {
            drop(owned(value));
            false
        }
    }
}

/// The context has ended, or is about to and takes no sessions any more.
pub(super) fn forget(context: &Arc<Context>) {
    let value = Arc::as_ptr(context).addr();
    if CONTEXTS.remove(context.address(), value) {
        note_end(value);
    }
}

/// The table has given up its reference.
fn note_end(value: usize) {
    let context = owned(value);
    context.set_storing(false);
    let mut statistics = context.cache.statistics();
    ENDED.fetch_add(1, Ordering::Relaxed);
    for (sum, count) in DONE.iter().zip(counts(&mut statistics)) {
        sum.fetch_add(*count, Ordering::Relaxed);
    }
}

// --- All of them -----------------------------------------------------------------------------

/// The context that this thread has found last, if it is still taken over and stores a session. Its user runs no foreign code.
#[inline]
pub(super) fn last_storing() -> Option<Held> {
    let last = LAST.get();
    let storing = || {
        let context = (last.context != 0).then(|| found(last.context));
        context.filter(|context| !context.cache.is_empty())
    };
    if is_alone() {
        // Nobody else could end it.
        let unchanged = CONTEXTS.changes() == last.changes;
        return unchanged.then(storing)?.map(Held::borrowed);
    }
    // Nothing leaves the table meanwhile, and nothing has since it was found there.
    let counted = || storing().map(|context| Arc::clone(&context));
    CONTEXTS.while_unchanged(last.changes, counted)?.map(Held::from)
}

/// Visits each context that stores a session, in no particular order, with no lock held: visiting may free sessions.
/// Each once, whatever comes and goes meanwhile.
pub(super) fn for_each_storing(mut visit: impl FnMut(&Arc<Context>)) {
    /// So many without memory being asked for.
    const FEW: usize = 4;
    let (mut few, mut count) = ([const { None }; FEW], 0);
    let (mut others, mut all) = (Vec::new(), true);
    CONTEXTS.for_each(|value| {
        let context = found(value);
        if context.cache.is_empty() {
            return;
        }
        if let Some(place) = few.get_mut(count) {
            *place = Some(Arc::clone(&context));
            count += 1;
            return;
        }
        all &= others.try_reserve(1).is_ok();
        if all {
            others.push(Arc::clone(&context));
        }
    });
    if all {
        return few.iter().flatten().chain(&others).for_each(visit);
    }
    // Out of memory they come one by one, by their numbers.
    drop((few, others));
    let mut next = storing_after(0);
    while let Some(context) = next {
        visit(&context);
        next = storing_after(context.number);
    }
}

/// The first context with a number above this one that stores a session.
fn storing_after(number: u64) -> Option<Arc<Context>> {
    // (What is dropped under the lock is never the last reference: the table has one.)
    let mut first: Option<Arc<Context>> = None;
    CONTEXTS.for_each(|value| {
        let context = found(value);
        let later = context.number > number && !context.cache.is_empty();
        if later && first.as_ref().is_none_or(|first| context.number < first.number) {
            first = Some(Arc::clone(&context));
        }
    });
    first
}

/// Sums over the contexts that have ended, beside their number. Not under one lock: at exit nothing may wait.
static ENDED: AtomicU64 = AtomicU64::new(0);
static DONE: [AtomicU64; 7] = [const { AtomicU64::new(0) }; 7];

/// In the order of [`DONE`].
fn counts(of: &mut Statistics) -> [&mut u64; 7] {
    let Statistics { stored, evicted, flushed, batches, taken, hits, misses } = of;
    [stored, evicted, flushed, batches, taken, hits, misses]
}

/// Sums over all contexts.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) contexts: u64,
    pub(super) done: Statistics,
    /// Sessions that are stored.
    pub(super) stored: usize,
}

/// Waits for nobody: what is locked at this moment is left out.
pub(super) fn totals() -> Totals {
    let mut totals = Totals { contexts: ENDED.load(Ordering::Relaxed), ..Totals::default() };
    for (count, sum) in counts(&mut totals.done).into_iter().zip(&DONE) {
        *count = sum.load(Ordering::Relaxed);
    }
    CONTEXTS.try_for_each(|value| {
        let context = found(value);
        totals.contexts += 1;
        totals.done = totals.done + context.cache.try_statistics().unwrap_or_default();
        totals.stored += context.cache.len();
    });
    totals
}
