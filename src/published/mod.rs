//! Figures for the operator, who asks for them by `SSLSWEEP_STATS=1`: a file in shared memory that only the
//! user of the process that made it can read, and that the `sslsweep` command does ([`sslsweep_figures`]).
//!
//! A figure is written there when it changes, with one store or addition and no lock. There is no thread and no
//! signal. The file holds numbers and the program's name: no session id, no secret, no address.
//!
//! Figures are never read back: to change them changes nothing but what is shown. One other word is read: a request of the
//! operator's, which makes each context flush itself once with its next use. So a process that may write to the file, as
//! those of the same user may, can make sessions leave early, and no more than that.

mod file;
mod image;
mod place;
mod sharing;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use sslsweep_figures::{
    CURVE, MODE_EXTERNAL, MODE_KNOWN, MODE_TICKETS, STEPS, STRIPES, curve_part,
};

use crate::cache::{Cache, Expiry, Observer, Statistics};
use crate::{memory, time};
use place::{Figures, any_figures, figures};
pub(crate) use sharing::shared;
pub(crate) use sharing::shared_count;

/// One more context was left to libssl because it lies in memory that processes share (P11). Returns how many were
/// before.
pub(crate) fn note_left_shared() -> u64 {
    static LEFT_SHARED: AtomicU64 = AtomicU64::new(0);
    file::begin();
    place::note_left_shared();
    LEFT_SHARED.fetch_add(1, Ordering::Relaxed)
}

/// The figures of one context. Without `SSLSWEEP_STATS` there are none.
#[derive(Debug)]
pub(crate) struct Published {
    /// Its index among those of this process.
    context: usize,
    /// The curve is drawn again after this number of changes.
    until_curve: AtomicU32,
    /// From this second on, it is drawn with the next change.
    curve_due: AtomicI64,
    /// The handshakes that are written already.
    handshakes: [AtomicU32; 3],
    /// The last request that it has taken on. (Not in the file, where somebody could take it back.)
    obeyed: AtomicU64,
    /// The cache's counts that are written already, where contexts share a block.
    former: [AtomicU64; 6],
    /// Sessions that flushes had removed when the end of the context began; before, more than any number.
    flushed_before_end: AtomicU64,
}

/// libssl's counts of a context's connections, which go up to 2^32 and then begin at 0 again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handshakes {
    pub(crate) accepted: u32,
    pub(crate) connected: u32,
    pub(crate) resumed: u32,
}

impl Published {
    /// Takes a block, if figures are published at all, and there is memory.
    pub(crate) fn new() -> Option<Arc<Self>> {
        file::begin();
        let context = place::begin_context()?;
        // A request of before was not to this one, which has nothing to remove for it.
        let request = place::request();
        if let Some(Figures::Own(block)) = figures(context) {
            block.answered.store(request, Ordering::Release);
        }
        memory::arc(Self {
            context,
            until_curve: AtomicU32::new(0),
            curve_due: AtomicI64::new(0),
            handshakes: Default::default(),
            obeyed: AtomicU64::new(request),
            former: Default::default(),
            flushed_before_end: AtomicU64::new(u64::MAX),
        })
    }

    /// The end of the context begins: sessions that leave from now on have not been flushed, but were left.
    pub(crate) fn begin_end(&self, flushed: u64) {
        let (never, order) = (u64::MAX, Ordering::Relaxed);
        let _ = self.flushed_before_end.compare_exchange(never, flushed, order, order);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.flushed_before_end.load(Ordering::Relaxed) != u64::MAX
    }

    /// Returns whether the operator has made a request that this context has not taken on.
    pub(crate) fn is_asked(&self) -> bool {
        let request = place::request();
        request != 0 && request != self.obeyed.load(Ordering::Relaxed)
    }

    /// Takes a request on that the caller wants to, unless another thread has.
    pub(crate) fn take_request(&self, wanted: impl FnOnce(u64) -> bool) -> Option<u64> {
        let former = self.obeyed.load(Ordering::Relaxed);
        let request = place::request();
        if request == 0 || request == former || !wanted(request) {
            return None;
        }
        let order = Ordering::Relaxed;
        self.obeyed.compare_exchange(former, request, order, order).is_ok().then_some(request)
    }

    /// A request has been carried out. Of contexts without a block of their own, what they have removed for the last one is
    /// added up.
    pub(crate) fn answer(&self, request: u64, removed: u64) {
        let Some(figures) = figures(self.context) else { return };
        let block = figures.block();
        let is_sum = matches!(figures, Figures::Shared(_));
        if is_sum && block.answered.load(Ordering::Acquire) == request {
            add(&block.answered_removed, removed);
        } else if self.obeyed.load(Ordering::Relaxed) == request {
            // (Else a later one has overtaken it, and is answered.)
            block.answered_removed.store(removed, Ordering::Relaxed);
            block.answered.store(request, Ordering::Release);
        }
    }

    pub(crate) fn set_limit(&self, limit: i64) {
        if let Some(Figures::Own(block)) = figures(self.context) {
            block.limit.store(limit.max(0) as u64, Ordering::Relaxed);
        }
    }

    /// The mode that the program has set, whether it has a get callback, and whether the context gives out tickets that need
    /// no cache.
    pub(crate) fn set_mode(&self, mode: u32, external: bool, tickets: bool) {
        if let Some(Figures::Own(block)) = figures(self.context) {
            let external = if external { MODE_EXTERNAL } else { 0 };
            let tickets = if tickets { MODE_TICKETS } else { 0 };
            let mode = MODE_KNOWN | external | tickets | u64::from(mode);
            block.mode.store(mode, Ordering::Relaxed);
        }
    }

    /// Adds those that are new. (A thread that comes with older counts, after another one, has none.)
    pub(crate) fn note_handshakes(&self, now: Handshakes) {
        let Some(block) = any_figures(self.context) else { return };
        let counts = [
            (&block.accepted, now.accepted),
            (&block.connected, now.connected),
            (&block.resumed, now.resumed),
        ];
        for ((place, count), former) in counts.into_iter().zip(&self.handshakes) {
            let rises = |former| (count.wrapping_sub(former) as i32 > 0).then_some(count);
            let former = former.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rises);
            if let Ok(former) = former {
                add(place, count.wrapping_sub(former).into());
            }
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
            add(&block.stripes[stripe()].misses, 1);
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

    /// Sessions came or went: now and then what is stored is looked through for the curve. Where much
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

/// The stripe of this thread.
fn stripe() -> usize {
    thread_local! {
        static STRIPE: usize = {
            static THREADS: AtomicUsize = AtomicUsize::new(0);
            THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES
        };
    }
    STRIPE.try_with(|&stripe| stripe).unwrap_or(0)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Drop for Published {
    fn drop(&mut self) {
        place::end_context(self.context);
    }
}

impl Observer for Published {
    fn changed(&self, sessions: usize, done: &Statistics) {
        let Some(figures) = figures(self.context) else { return };
        let block = figures.block();
        let flushed = done.flushed.min(self.flushed_before_end.load(Ordering::Relaxed));
        let values = [
            (&block.sessions, sessions as u64),
            (&block.stores, done.stored),
            (&block.evictions, done.evicted),
            (&block.flushed, flushed),
            (&block.left_at_end, done.flushed - flushed),
            (&block.removals, done.taken),
        ];
        for ((place, value), former) in values.into_iter().zip(&self.former) {
            if let Figures::Shared(_) = figures {
                let former = former.swap(value, Ordering::Relaxed);
                place.fetch_add(value.wrapping_sub(former), Ordering::Relaxed);
            } else {
                place.store(value, Ordering::Relaxed);
            }
        }
    }

    fn looked_up(&self, found: bool) {
        if let Some(block) = any_figures(self.context) {
            let stripe = &block.stripes[stripe()];
            add(if found { &stripe.hits } else { &stripe.misses }, 1);
        }
    }
}
