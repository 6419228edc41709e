//! The doorbell: how the agent sleeps, and is woken by a process that waits for an answer.

use super::sync::{AtomicU64, Ordering, fence};

/// What a process sleeps at: the kernel, or a model of it. The word is the lower half of an [`AtomicU64`].
pub trait Futex {
    /// The time at which a sleep ends.
    type Deadline: Copy;

    /// Sleeps if the lower half of the word is still that of `seen`, until somebody wakes it or the deadline.
    fn wait(&self, word: &AtomicU64, seen: u64, deadline: Self::Deadline) -> Woken;

    /// Wakes all who sleep at the word.
    fn wake(&self, word: &AtomicU64);
}

/// The end of a sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Somebody woke it, or a signal. The word may be the same.
    Perhaps,
    /// The word was another when it was to fall asleep.
    Changed,
    /// The deadline has come, or the kernel has no sleep to give.
    Late,
}

/// The doorbell of one agent, of which one thread sleeps there.
#[derive(Clone, Copy)]
pub struct Bell<'a> {
    rung: &'a AtomicU64,
    sleeping: &'a AtomicU64,
}

impl<'a> Bell<'a> {
    /// The doorbell in these words.
    pub fn new(rung: &'a AtomicU64, sleeping: &'a AtomicU64) -> Self {
        Self { rung, sleeping }
    }

    /// Nobody sleeps, whatever an agent has left behind.
    pub(super) fn reset(self) {
        self.sleeping.store(0, Ordering::Relaxed);
    }

    /// Wakes the agent if it sleeps. What it shall see was written before.
    pub fn ring(self, futex: &impl Futex) {
        // Pairs with that of `sleep`: either the agent is seen to sleep, or it sees what was written.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) != 0 {
            self.rung.fetch_add(1, Ordering::Relaxed);
            futex.wake(self.rung);
        }
    }

    /// Sleeps until somebody rings, or until the deadline, unless `is_busy`.
    pub(super) fn sleep<F: Futex>(
        self,
        is_busy: impl FnOnce() -> bool,
        futex: &F,
        deadline: F::Deadline,
    ) {
        // First: whoever rings from now on changes it.
        let rung = self.rung.load(Ordering::Relaxed);
        self.sleeping.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !is_busy() {
            futex.wait(self.rung, rung, deadline);
        }
        self.sleeping.store(0, Ordering::Relaxed);
    }
}
