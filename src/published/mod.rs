//! Figures for the operator, who asks for them by `SSLSWEEP_STATS=1`: a file in shared memory that only the
//! user of the process that made it can read, and that the `sslsweep` command does ([`sslsweep_figures`]).
//!
//! Whoever changes a figure writes it there, with one store or addition and no lock. There is no thread and no
//! signal; nobody who reads can change what a cache does, since the figures are never read back. The file holds numbers
//! and the program's name: no session id, no secret, no address.

mod file;

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use sslsweep_figures::{CURVE, STEPS, curve_part};

use crate::cache::{Cache, Expiry, Observer, Statistics};
use crate::time;
use file::{Figures, any_figures, figures};

/// One more context was left to libssl because it lies in memory that processes share (P11). Returns how many were
/// before.
pub(crate) fn note_left_shared() -> u64 {
    static LEFT_SHARED: AtomicU64 = AtomicU64::new(0);
    file::note_left_shared();
    LEFT_SHARED.fetch_add(1, Ordering::Relaxed)
}

/// What a context publishes. Without `SSLSWEEP_STATS` there is none.
#[derive(Debug)]
pub(crate) struct Published {
    /// Which one it is among those of this process.
    context: usize,
    /// So many more changes, and the curve is drawn again.
    until_curve: AtomicU32,
    /// From this second on, it is drawn with the next change.
    curve_due: AtomicI64,
}

impl Published {
    /// Takes a block, if figures are published at all.
    pub(crate) fn new() -> Option<Self> {
        let context = file::begin_context()?;
        Some(Self { context, until_curve: AtomicU32::new(0), curve_due: AtomicI64::new(0) })
    }

    /// Who writes the cache's changes down. (The block is given up by [`Published`] alone.)
    pub(crate) fn observer(&self) -> Box<dyn Observer> {
        Box::new(Writer { context: self.context, former: Default::default() })
    }

    pub(crate) fn set_limit(&self, limit: i64) {
        if let Some(Figures::Own(block)) = figures(self.context) {
            block.limit.store(limit.max(0) as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_external_hit(&self) {
        if let Some(block) = any_figures(self.context) {
            add(&block.external_hits, 1);
        }
    }

    /// Neither the cache nor the program's get callback had it, and the program keeps a cache of its own.
    pub(crate) fn note_external_miss(&self) {
        if let Some(block) = any_figures(self.context) {
            add(&block.external_misses, 1);
            add(&block.stripes[file::stripe()].misses, 1);
        }
    }

    pub(crate) fn note_batch(&self, step: usize, took: Duration, longest: u64) {
        if let Some(block) = any_figures(self.context) {
            add(&block.batch_times[step.min(STEPS - 1)], 1);
            add(&block.batch_time_sum, nanoseconds(took));
            block.longest_batch.fetch_max(longest, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_flush<S: Clone + PartialEq>(
        &self,
        step: usize,
        removed: u64,
        took: Duration,
        cache: &Cache<S>,
    ) {
        if let Some(block) = any_figures(self.context) {
            add(&block.flush_times[step.min(STEPS - 1)], 1);
            add(&block.flushes, 1);
            let took = nanoseconds(took);
            add(&block.flush_time_sum, took);
            block.last_removed.store(removed, Ordering::Relaxed);
            block.last_took.store(took, Ordering::Relaxed);
            block.last_flush.store(time::now().max(0) as u64, Ordering::Relaxed);
        }
        self.note_changes(removed, cache);
    }

    pub(crate) fn note_change<S: Clone + PartialEq>(&self, cache: &Cache<S>) {
        self.note_changes(1, cache);
    }

    /// So many sessions came or went: now and then what is stored is looked through for the curve. Where much
    /// changes, that costs a change one second's bucket on the average; where little does, a second a thousand
    /// of them. (Not after each flush, as there may be one with each store.)
    fn note_changes<S: Clone + PartialEq>(&self, sessions: u64, cache: &Cache<S>) {
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        match self.until_curve.load(Ordering::Relaxed).checked_sub(sessions) {
            Some(left) if time::about_now() < self.curve_due.load(Ordering::Relaxed) => {
                self.until_curve.store(left, Ordering::Relaxed);
            }
            _ => self.draw_curve(cache),
        }
    }

    fn draw_curve<S: Clone + PartialEq>(&self, cache: &Cache<S>) {
        let Some(Figures::Own(block)) = figures(self.context) else { return };
        let now = time::now();
        let mut curve = [0; CURVE];
        let mut seconds = 0u32;
        cache.for_each_expiry(|expiry, sessions| {
            let left = match expiry {
                Expiry::NEVER => i64::MAX,
                _ => expiry.seconds().saturating_sub(now).min(i64::MAX - 1),
            };
            curve[curve_part(left)] += sessions;
            seconds += 1;
        });
        for (place, sessions) in block.curve.iter().zip(curve) {
            place.store(sessions, Ordering::Relaxed);
        }
        block.curve_made.store(now.max(0) as u64, Ordering::Relaxed);
        self.until_curve.store(seconds, Ordering::Relaxed);
        self.curve_due.store(now.saturating_add(1 + i64::from(seconds) / 1000), Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Drop for Published {
    fn drop(&mut self) {
        file::end_context(self.context);
    }
}

/// Writes a cache's changes down.
#[derive(Debug)]
struct Writer {
    context: usize,
    /// What was written last, of contexts that share a block.
    former: [AtomicU64; 5],
}

impl Observer for Writer {
    fn changed(&self, sessions: usize, done: &Statistics) {
        let values = [sessions as u64, done.stored, done.evicted, done.flushed, done.taken];
        let Some(figures) = figures(self.context) else { return };
        let (Figures::Own(block) | Figures::Shared(block)) = figures;
        let places =
            [&block.sessions, &block.stores, &block.evictions, &block.flushed, &block.removals];
        for ((place, value), former) in places.into_iter().zip(values).zip(&self.former) {
            if matches!(figures, Figures::Shared(_)) {
                let former = former.swap(value, Ordering::Relaxed);
                place.fetch_add(value.wrapping_sub(former), Ordering::Relaxed);
            } else {
                place.store(value, Ordering::Relaxed);
            }
        }
    }

    fn looked_up(&self, found: bool) {
        if let Some(block) = any_figures(self.context) {
            let stripe = &block.stripes[file::stripe()];
            add(if found { &stripe.hits } else { &stripe.misses }, 1);
        }
    }
}
