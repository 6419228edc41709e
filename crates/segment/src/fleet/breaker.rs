//! The breaker: who may wait after waits were in vain.

use super::sync::{AtomicU64, Ordering};

/// The missed deadlines in a row after which nobody waits.
const MOST: u64 = 3;

/// The milliseconds between two tries.
const PAUSE: u64 = 1_000;

/// Counts the deadlines that were missed in a row, in all processes, and remembers when one was missed or tried last.
#[derive(Clone, Copy)]
pub struct Breaker<'a> {
    missed: &'a AtomicU64,
    tried: &'a AtomicU64,
}

impl<'a> Breaker<'a> {
    /// The breaker in these words.
    pub fn new(missed: &'a AtomicU64, tried: &'a AtomicU64) -> Self {
        Self { missed, tried }
    }

    /// Returns whether nobody waits, but for tries.
    pub fn is_open(self) -> bool {
        self.missed.load(Ordering::Acquire) >= MOST
    }

    /// Returns whether the caller may wait, at this time in milliseconds: of all processes one each second if it is open.
    pub fn permits(self, now: u64) -> bool {
        if !self.is_open() {
            return true;
        }
        let tried = self.tried.load(Ordering::Relaxed);
        // (A time to come is from before the machine started.)
        let is_time = now.checked_sub(tried).is_none_or(|since| since >= PAUSE);
        let change =
            || self.tried.compare_exchange(tried, now, Ordering::Relaxed, Ordering::Relaxed);
        is_time && change().is_ok()
    }

    /// A deadline was met.
    pub fn meet(self) {
        if self.missed.load(Ordering::Relaxed) != 0 {
            self.missed.store(0, Ordering::Relaxed);
        }
    }

    /// A deadline was missed, at this time in milliseconds.
    pub fn miss(self, now: u64) {
        // The time first: who sees the breaker open sees when it opened.
        self.tried.store(now, Ordering::Relaxed);
        if !self.is_open() {
            self.missed.fetch_add(1, Ordering::Release);
        }
    }
}
