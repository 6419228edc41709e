//! What the flushes of a context took, for whoever asks. Counted by those who flush, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use once_cell::race::OnceBox;

use sslsweep_figures::STEPS;

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

/// The flushes of a context that had something to remove. Made by the first one: a context that stores nothing
/// stays small.
#[derive(Debug, Default)]
pub(crate) struct Flushes(OnceBox<Counts>);

#[derive(Debug, Default)]
struct Counts {
    flushes: Histogram,
    batches: Histogram,
    longest_batch: AtomicU64,
}

impl Flushes {
    fn counts(&self) -> &Counts {
        self.0.get_or_init(Box::default)
    }

    /// Returns the histogram's step.
    pub(super) fn note_flush(&self, took: Duration) -> usize {
        self.counts().flushes.record(took)
    }

    /// Returns the histogram's step.
    pub(super) fn note_batch(&self, took: Duration) -> usize {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts().longest_batch.fetch_max(nanoseconds, Ordering::Relaxed);
        self.counts().batches.record(took)
    }

    /// How many took how long, from the call to its return, with the callbacks that ran in it.
    pub(crate) fn flush_times(&self) -> [u64; STEPS] {
        self.0.get().map_or([0; STEPS], |counts| counts.flushes.steps())
    }

    /// How many batches took how long, from asking for the lock to letting it go.
    pub(crate) fn batch_times(&self) -> [u64; STEPS] {
        self.0.get().map_or([0; STEPS], |counts| counts.batches.steps())
    }

    /// Nanoseconds of the longest batch.
    pub(crate) fn longest_batch(&self) -> u64 {
        self.0.get().map_or(0, |counts| counts.longest_batch.load(Ordering::Relaxed))
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
