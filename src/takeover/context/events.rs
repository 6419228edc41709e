//! Events of a context, each by one call. Behind the call are counts for the program, the operator's figures, and probes for
//! tracers.
//!
//! Probes (USDT, provider `sslsweep`) are each one instruction that does nothing until a tracer replaces it, and a note in
//! the ELF file that says where it is and where its arguments are. docs/operations.md lists them for those who trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use once_cell::race::OnceBox;
use probe::probe;
use sslsweep_figures::STEPS;

use crate::cache::{Cache, Cutoff, Expiry, Observer};
use crate::libssl::types::CtxRef;
use crate::libssl::{Session, SessionRef};
use crate::memory;
use crate::published::{Handshakes, Published};

/// How many times something took how long: step 0 is less than a microsecond, each further one twice as long
/// as the one before, and the last one has no end.
#[derive(Debug, Default)]
struct Histogram([AtomicU64; STEPS]);

impl Histogram {
    /// Returns the step.
    fn record(&self, took: Duration) -> usize {
        let bits = u128::BITS - took.as_micros().leading_zeros();
        let step = (bits as usize).min(STEPS - 1);
        self.0[step].fetch_add(1, Ordering::Relaxed);
        step
    }

    fn steps(&self) -> [u64; STEPS] {
        std::array::from_fn(|step| self.0[step].load(Ordering::Relaxed))
    }
}

#[derive(Debug, Default)]
struct Flushes {
    flushes: Histogram,
    batches: Histogram,
    longest_batch: AtomicU64,
}

/// The events of one context.
#[derive(Debug)]
pub(crate) struct Events {
    /// The context's address, for tracers.
    ctx: usize,
    /// Of the flushes that had something to remove. Made by the first one: a context that stores nothing stays small.
    flushes: OnceBox<Flushes>,
    published: Option<Arc<Published>>,
}

impl Events {
    pub(super) fn new(ctx: CtxRef<'_>) -> Self {
        Self { ctx: ctx.address(), flushes: OnceBox::new(), published: Published::new() }
    }

    /// The observer that hears from the cache itself what is stored, removed and looked up.
    pub(super) fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.published.clone().map(|published| published as _)
    }

    fn tell(&self, tell: impl FnOnce(&Published)) {
        if let Some(published) = &self.published {
            tell(published);
        }
    }

    // --- Sessions ----------------------------------------------------------------------------

    /// A session was stored under a new key or in place of another one.
    #[inline(always)] // as all that have a probe
    pub(super) fn store(&self, session: usize, expiry: Expiry) {
        probe!(sslsweep, store, self.ctx, session, expiry.seconds());
    }

    /// A session is evicted.
    #[inline(always)]
    pub(super) fn evict(&self, session: SessionRef<'_>) {
        probe!(sslsweep, evict, self.ctx, session.address());
    }

    /// A flush removes a session.
    #[inline(always)]
    pub(super) fn expire(&self, session: SessionRef<'_>) {
        probe!(sslsweep, expire, self.ctx, session.address());
    }

    /// A lookup for a handshake found a session.
    #[inline(always)]
    pub(super) fn hit(&self, session: SessionRef<'_>) {
        probe!(sslsweep, hit, self.ctx, session.address());
    }

    /// A lookup for a handshake found none.
    #[inline(always)]
    pub(super) fn miss(&self) {
        probe!(sslsweep, miss, self.ctx);
    }

    /// A session has come, gone, or been given another expiry.
    pub(super) fn change(&self, cache: &Cache<Session>) {
        self.tell(|published| published.note_change(cache));
    }

    pub(super) fn external_hit(&self) {
        self.tell(|published| published.note_external_hit());
    }

    pub(super) fn external_miss(&self) {
        self.tell(|published| published.note_external_miss());
    }

    // --- Flushes -----------------------------------------------------------------------------

    /// A flush begins that has something to remove.
    #[inline(always)]
    pub(super) fn begin_flush(&self, cutoff: Cutoff) {
        probe!(sslsweep, flush__start, self.ctx, cutoff.tm());
    }

    /// It has ended, with its callbacks. One that the end of the context has begun (`is_end`) is none to the operator.
    #[inline(always)]
    pub(super) fn end_flush(
        &self,
        removed: u64,
        took: Duration,
        is_end: bool,
        cache: &Cache<Session>,
    ) {
        if let Some(counts) = (removed > 0).then(|| self.flushes()).flatten() {
            let step = counts.flushes.record(took);
            if let Some(published) = self.published.as_ref().filter(|_| !is_end) {
                published.note_flush(step, removed, took, cache);
            }
        }
        probe!(sslsweep, flush__done, self.ctx, removed, took.as_nanos() as u64);
    }

    /// A batch that had something to remove took so long, from asking for the lock to letting it go.
    pub(super) fn batch(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let Some(Flushes { batches, longest_batch, .. }) = self.flushes() else { return };
        longest_batch.fetch_max(nanoseconds, Ordering::Relaxed);
        let step = batches.record(took);
        if let Some(published) = self.published.as_ref().filter(|published| !published.is_ending())
        {
            published.note_batch(step, took, self.longest_batch());
        }
    }

    /// Nothing is counted if there is no memory to count in.
    fn flushes(&self) -> Option<&Flushes> {
        self.flushes.get_or_try_init(|| memory::boxed(Flushes::default()).ok_or(())).ok()
    }

    /// How many flushes took how long, from the call to its return, with the callbacks that ran in it.
    pub(crate) fn flush_times(&self) -> [u64; STEPS] {
        self.flushes.get().map_or([0; STEPS], |counts| counts.flushes.steps())
    }

    /// How many batches took how long.
    pub(crate) fn batch_times(&self) -> [u64; STEPS] {
        self.flushes.get().map_or([0; STEPS], |counts| counts.batches.steps())
    }

    /// Nanoseconds of the longest batch.
    pub(crate) fn longest_batch(&self) -> u64 {
        self.flushes.get().map_or(0, |counts| counts.longest_batch.load(Ordering::Relaxed))
    }

    // --- The operator ------------------------------------------------------------------------

    pub(crate) fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// The most sessions.
    pub(super) fn limit(&self, size: i64) {
        self.tell(|published| published.set_limit(size));
    }

    /// The program's mode, whether it has a get callback and gives out tickets that need no cache, and what libssl has
    /// counted.
    pub(super) fn view(&self, mode: u32, external: bool, tickets: bool, handshakes: Handshakes) {
        self.tell(|published| {
            published.set_mode(mode, external, tickets);
            published.note_handshakes(handshakes);
        });
    }

    /// All sessions are about to leave because the context ends. `flushed` is the number that flushes have removed before.
    pub(super) fn begin_end(&self, flushed: u64) {
        self.tell(|published| published.begin_end(flushed));
    }

    pub(super) fn is_end_begun(&self) -> bool {
        self.published.as_ref().is_some_and(|published| published.is_ending())
    }

    /// Returns whether the operator has made a request that the context has not taken on.
    pub(super) fn is_asked(&self) -> bool {
        self.published.as_ref().is_some_and(|published| published.is_asked())
    }

    /// Takes a request on that the caller wants to, unless another thread has.
    pub(super) fn take_request(&self, wanted: impl FnOnce(u64) -> bool) -> Option<u64> {
        self.published.as_ref()?.take_request(wanted)
    }

    /// A request has been carried out.
    pub(super) fn answer(&self, request: u64, removed: u64) {
        self.tell(|published| published.answer(request, removed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double() {
        let histogram = Histogram::default();
        for (nanoseconds, step) in [
            (0, 0),
            (999, 0),
            (1_000, 1),
            (1_999, 1),
            (2_000, 2),
            (3_999, 2),
            (4_000, 3),
            (1_000_000, 10),
            (u64::MAX, STEPS - 1),
        ] {
            let before = histogram.steps();
            assert_eq!(histogram.record(Duration::from_nanos(nanoseconds)), step);
            let after = histogram.steps();
            assert_eq!(after[step], before[step] + 1, "{nanoseconds} ns");
            assert_eq!(after.iter().sum::<u64>(), before.iter().sum::<u64>() + 1);
        }
    }
}
