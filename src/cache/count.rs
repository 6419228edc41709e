//! Counts the cache's work on each thread, for the tests that assert its complexity. No code at all
//! otherwise.

#[cfg(test)]
use std::cell::Cell;

/// Counts since the thread began.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Locks of an order or of a shard.
    pub(super) locks: u64,
    /// Nodes, entries, buckets and index cells looked at.
    pub(super) touched: u64,
}

#[cfg(test)]
thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { locks: 0, touched: 0 }) };
}

/// The counts of `action`.
#[cfg(all(test, not(miri)))]
pub(super) fn of<R>(action: impl FnOnce() -> R) -> (Counts, R) {
    let before = COUNTS.get();
    let result = action();
    let after = COUNTS.get();
    let counts =
        Counts { locks: after.locks - before.locks, touched: after.touched - before.touched };
    (counts, result)
}

#[inline(always)]
pub(super) fn lock() {
    #[cfg(test)]
    COUNTS.set(Counts { locks: COUNTS.get().locks + 1, ..COUNTS.get() });
}

#[inline(always)]
pub(super) fn touch() {
    #[cfg(test)]
    COUNTS.set(Counts { touched: COUNTS.get().touched + 1, ..COUNTS.get() });
}
