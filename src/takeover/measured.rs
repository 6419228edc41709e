//! What the flushes of a context took, for whoever asks. Counted by those who flush, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::published::layout::STEPS;

/// How many times something took how long: step 0 is less than a microsecond, each further one twice as long
/// as the one before, and the last one has no end.
#[derive(Debug, Default)]
pub(crate) struct Histogram([AtomicU64; STEPS]);

impl Histogram {
    /// Returns the step.
    fn record(&self, took: Duration) -> usize {
        let bits = u128::BITS - took.as_micros().leading_zeros();
        let step = (bits as usize).min(STEPS - 1);
        self.0[step].fetch_add(1, Ordering::Relaxed);
        step
    }

    pub(crate) fn steps(&self) -> [u64; STEPS] {
        std::array::from_fn(|step| self.0[step].load(Ordering::Relaxed))
    }
}

/// The flushes of a context that had something to remove.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// From the call to its return, with the callbacks that ran in it.
    pub(crate) flushes: Histogram,
    /// Of each batch, from asking for the lock to letting it go.
    pub(crate) batches: Histogram,
    longest_batch: AtomicU64,
}

impl Flushes {
    /// Returns the histogram's step.
    pub(super) fn note_flush(&self, took: Duration) -> usize {
        self.flushes.record(took)
    }

    /// Returns the histogram's step.
    pub(super) fn note_batch(&self, took: Duration) -> usize {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.longest_batch.fetch_max(nanoseconds, Ordering::Relaxed);
        self.batches.record(took)
    }

    /// Nanoseconds of the longest batch.
    pub(crate) fn longest_batch(&self) -> u64 {
        self.longest_batch.load(Ordering::Relaxed)
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
