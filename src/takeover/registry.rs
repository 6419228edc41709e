//! Which contexts are managed.
//!
//! A table of our own, not ex_data: ex_data belongs to the default `OSSL_LIB_CTX` of the moment,
//! where another index may have the same number. Addresses of contexts are used again, so a context
//! that begins replaces whatever state its address had.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::managed::Managed;
use super::{ending, shared, summary};
use crate::guard::{guard, uncancelled};
use crate::libssl::types::*;
use crate::libssl::{Libssl, inside};
use crate::memory;
use crate::sync::Addresses;

/// From a context to its state, of which the table has one reference.
static CONTEXTS: Addresses = Addresses::new();

static BEGUN: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
struct Last {
    ctx: *mut SSL_CTX,
    changes: u64,
    managed: *const Managed,
}

thread_local! {
    /// What this thread found last, which it mostly looks for again. Without a destructor: the C
    /// library needs memory to register one, and ends the process if there is none.
    static LAST: Cell<Last> = const {
        Cell::new(Last { ctx: std::ptr::null_mut(), changes: 0, managed: std::ptr::null() })
    };
}

/// The state of a managed context; `None` for any other, and for NULL.
///
/// The context must be alive, as for any function that is called with it.
pub(crate) fn find(ctx: *mut SSL_CTX) -> Option<Arc<Managed>> {
    find_borrowed(ctx).map(|managed| Arc::clone(&managed))
}

/// Whether a context is managed; also of one that may be gone.
pub(super) fn is_managed(ctx: *mut SSL_CTX) -> bool {
    CONTEXTS.get(ctx.addr()).is_some()
}

/// The same without counting a reference, which threads that look sessions up at once would do at one
/// place in memory. Only for who runs no callback meanwhile, in which the context might end.
pub(super) fn find_borrowed(ctx: *mut SSL_CTX) -> Option<ManuallyDrop<Arc<Managed>>> {
    let changes = CONTEXTS.changes();
    let mut last = LAST.get();
    if last.ctx != ctx || last.changes != changes || last.managed.is_null() {
        let managed = CONTEXTS.get(ctx.addr())? as *const Managed;
        last = Last { ctx, changes, managed };
        LAST.set(last);
    }
    Some(borrowed(last.managed))
}

/// A state that the table has a reference on, or had a moment ago for a context that is alive.
fn borrowed(managed: *const Managed) -> ManuallyDrop<Arc<Managed>> {
    // SAFETY: from `Arc::into_raw`, and never dropped. The table has held the state since it was found: no
    // entry has changed, and if one does now it is not that of a context that is alive.
    ManuallyDrop::new(unsafe { Arc::from_raw(managed) })
}

thread_local! {
    /// The context that this thread has taken over last.
    static ADOPTED: Cell<*mut SSL_CTX> = const { Cell::new(std::ptr::null_mut()) };
}

/// Makes a context by the real function and takes it over.
///
/// Where libssl goes through the PLT, its `SSL_CTX_new` comes back to our `SSL_CTX_new_ex`, which
/// takes the context over first. (Marking the thread as inside libssl would not do: the program's
/// ex_data functions run in there.)
pub(crate) fn make(libssl: &'static Libssl, new: impl FnOnce() -> *mut SSL_CTX) -> *mut SSL_CTX {
    ADOPTED.set(std::ptr::null_mut());
    let ctx = new();
    if ADOPTED.replace(std::ptr::null_mut()) != ctx {
        // Seeds are made, from random bytes.
        uncancelled(|| guard((), || adopt(libssl, ctx)));
    }
    ADOPTED.set(ctx);
    ctx
}

/// Takes over a context that the real libssl has just made. Nothing is done for NULL, nor
/// with a libssl that is left alone.
fn adopt(libssl: &'static Libssl, ctx: *mut SSL_CTX) {
    let Some(api) = libssl.api.as_ref().filter(|_| !ctx.is_null()) else { return };
    if shared::is_left(api, ctx) {
        // Perhaps at the address of one that another process has freed.
        find(ctx).iter().for_each(forget);
        return;
    }
    ending::watch(libssl, api);
    let ask = |command| {
        // SAFETY: the context is alive: it was just made and its maker has not seen it.
        inside(|| unsafe { (api.SSL_CTX_ctrl)(ctx, command, 0, std::ptr::null_mut()) })
    };
    let mode = ask(SSL_CTRL_GET_SESS_CACHE_MODE) as u32;
    let size = ask(SSL_CTRL_GET_SESS_CACHE_SIZE);
    let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
    let Some(managed) = memory::arc(Managed::new(libssl, api, ctx, number, mode, size)) else {
        // Out of memory the context stays as it is.
        find(ctx).iter().for_each(forget);
        return;
    };
    let value = Arc::into_raw(Arc::clone(&managed));
    let Ok(stale) = CONTEXTS.insert(ctx.addr(), value.addr()) else {
        // The same.
        // SAFETY: from `Arc::into_raw`, and not in the table.
        drop(unsafe { Arc::from_raw(value) });
        return;
    };
    // Its end went unnoticed; its context is gone, so nothing of it may be called any more.
    stale.into_iter().for_each(note_end);
    // With the callbacks that the program's ex_data functions may have set while the context was made.
    managed.take_in();
    summary::begun(number);
}

/// Visits each context that stores a session, in no particular order, with no lock held: visiting may free sessions.
/// Each once, whatever comes and goes meanwhile.
pub(super) fn for_each_storing(mut visit: impl FnMut(&Arc<Managed>)) {
    let (mut found, mut all) = (Vec::new(), true);
    CONTEXTS.for_each(|value| {
        let managed = borrowed(value as *const Managed);
        if !managed.cache().is_empty() {
            all &= found.try_reserve(1).is_ok();
            if all {
                found.push(Arc::clone(&managed));
            }
        }
    });
    if all {
        return found.iter().for_each(visit);
    }
    // Out of memory they come one by one, by their numbers.
    drop(found);
    let mut next = storing_after(0);
    while let Some(managed) = next {
        visit(&managed);
        next = storing_after(managed.number());
    }
}

/// The first context with a number above this one that stores a session.
fn storing_after(number: u64) -> Option<Arc<Managed>> {
    // (What is dropped under the lock is never the last reference: the table has one.)
    let mut first: Option<Arc<Managed>> = None;
    CONTEXTS.for_each(|value| {
        let managed = borrowed(value as *const Managed);
        let later = managed.number() > number && !managed.cache().is_empty();
        if later && first.as_ref().is_none_or(|first| managed.number() < first.number()) {
            first = Some(Arc::clone(&managed));
        }
    });
    first
}

/// The context has ended, or is about to and takes no sessions any more.
pub(super) fn forget(managed: &Arc<Managed>) {
    let value = Arc::as_ptr(managed).addr();
    if CONTEXTS.remove(managed.ctx().addr(), value) {
        note_end(value);
    }
}

/// The table has given up its reference.
fn note_end(value: usize) {
    // SAFETY: from `Arc::into_raw`, and taken out of the table just now.
    let managed = unsafe { Arc::from_raw(value as *const Managed) };
    managed.stops_storing();
    summary::ended(&managed);
}

/// Visits all managed contexts, unless the table is being changed at this moment.
pub(super) fn try_for_each(mut visit: impl FnMut(&Managed)) {
    CONTEXTS.try_for_each(|value| visit(&borrowed(value as *const Managed)));
}
