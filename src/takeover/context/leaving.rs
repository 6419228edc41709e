//! Detached sessions whose remove callback has still to run.
//!
//! They wait with the context and not with the flush that detached them: should a callback free the
//! context's last reference, the end of the context finds them and runs their callbacks while it
//! can. Each flush takes only its own group, so that what a callback calls does not run the callbacks of the
//! flush around it, inside one another.
//!
//! A callback need not return: it may end the thread, throw an exception, or leave by longjmp. Its group is
//! then abandoned, and the next flush of the context goes on with it; after a longjmp one of the same thread that is
//! no deeper in its stack, or the context's end. (To look on the stack whether the call is still there would take the
//! loader's lock.)

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::libssl::Session;
use crate::stack::this_thread;
use crate::sync::Mutex;

/// Why a session leaves, which decides whether it is marked not resumable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Flushed: it is marked (F4).
    Flushed,
    /// It is left as it is: evicted, when it stays resumable for others who hold it (C19); or
    /// removed by libssl, which has marked it.
    Other,
}

/// How many sessions ahead the memory of one is fetched while another's callback runs.
const AHEAD: usize = 4;

/// The sessions of one flush, or of one eviction of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group(u64);

type Waiting = VecDeque<(Session, Why)>;

/// The state of a group: the call that runs its callbacks, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    /// Whoever began it, and is still gathering its sessions.
    Gathering,
    /// A call of this thread at this address of its stack. Longjmp out of it leaves this as it is: the call is gone
    /// when the thread runs there, or further out.
    Call { thread: usize, stack: usize },
    /// Nobody.
    Abandoned,
}

#[derive(Debug)]
struct Batch {
    group: Group,
    runner: Runner,
    waiting: Waiting,
}

/// The groups of a context.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    batches: Mutex<Vec<Batch>>,
    /// Their number. Each flush looks at it, and mostly finds 0.
    count: AtomicUsize,
    begun: AtomicU64,
}

impl Leaving {
    pub(super) fn begin(&self) -> Group {
        Group(self.begun.fetch_add(1, Ordering::Relaxed))
    }

    /// Moves sessions into a group. Returns whether there was memory for that.
    pub(super) fn add(&self, group: Group, sessions: &mut Vec<Session>, why: Why) -> bool {
        let mut batches = self.batches.lock();
        let at = batches.iter().position(|batch| batch.group == group);
        if at.is_none() && batches.try_reserve(1).is_err() {
            return false;
        }
        let at = at.unwrap_or_else(|| {
            batches.push(Batch { group, runner: Runner::Gathering, waiting: Waiting::new() });
            self.count.store(batches.len(), Ordering::Relaxed);
            batches.len() - 1
        });
        let waiting = &mut batches[at].waiting;
        let fits = waiting.try_reserve(sessions.len()).is_ok();
        if fits {
            waiting.extend(sessions.drain(..).map(|session| (session, why)));
        }
        fits
    }

    /// Notes who sees to a group from now on. Returns whether there is something to see to.
    pub(super) fn set_runner(&self, group: Group, runner: Runner) -> bool {
        let mut batches = self.batches.lock();
        let batch = batches.iter_mut().find(|batch| batch.group == group);
        batch.map(|batch| batch.runner = runner).is_some()
    }

    /// The next session of a group; with the last one the group goes.
    pub(super) fn next_of(&self, group: Group) -> Option<(Session, Why)> {
        let mut batches = self.batches.lock();
        let at = batches.iter().position(|batch| batch.group == group)?;
        let waiting = &mut batches[at].waiting;
        if let Some((soon, _)) = waiting.get(AHEAD) {
            soon.get().prefetch();
        }
        let next = waiting.pop_front();
        let storage = next.is_none().then(|| batches.swap_remove(at));
        self.count.store(batches.len(), Ordering::Relaxed);
        drop(batches);
        drop(storage);
        next
    }

    /// A group that is not finished.
    pub(super) fn any(&self) -> Option<Group> {
        self.batches.lock().first().map(|batch| batch.group)
    }

    /// A group that nobody sees to: abandoned, or left by a call of this thread that is gone, as the thread is `here` on its
    /// stack. (Stacks grow down wherever OpenSSL runs. On another stack, a coroutine's, a call may seem to be gone: then
    /// either goes on with its group.)
    pub(super) fn abandoned(&self, here: usize) -> Option<Group> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let is_gone = |runner| match runner {
            Runner::Abandoned => true,
            Runner::Call { thread, stack } => thread == this_thread() && stack <= here,
            Runner::Gathering => false,
        };
        let batches = self.batches.lock();
        batches.iter().find(|batch| is_gone(batch.runner)).map(|batch| batch.group)
    }
}
