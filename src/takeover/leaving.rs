//! Detached sessions whose remove callback has still to run.
//!
//! They wait with the context and not with the flush that detached them: should a callback free the
//! context's last reference, the end of the context finds them and runs their callbacks while it
//! can; and should a callback never return, they are not lost. Each flush takes only its own group,
//! so that what a callback calls does not run the callbacks of the flush around it, inside one another.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::libssl::Session;

/// Why a session leaves, which decides whether it is marked not resumable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Flushed: it is marked (F4).
    Flushed,
    /// It is left as it is: for lack of room, when it stays resumable for others who hold it (C19); or
    /// removed by libssl, which has marked it.
    Other,
}

/// How many sessions ahead the memory of one is fetched while another's callback runs.
const AHEAD: usize = 4;

/// The sessions of one flush, or of one eviction of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group(u64);

type Waiting = VecDeque<(Session, Why)>;

/// The groups of a context.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    groups: Mutex<Vec<(Group, Waiting)>>,
    begun: AtomicU64,
}

impl Leaving {
    pub(super) fn begin(&self) -> Group {
        Group(self.begun.fetch_add(1, Ordering::Relaxed))
    }

    /// Moves sessions into a group. Returns whether there was memory for that.
    pub(super) fn add(&self, group: Group, sessions: &mut Vec<Session>, why: Why) -> bool {
        let mut groups = self.groups.lock();
        let at = groups.iter().position(|(found, _)| *found == group);
        if at.is_none() && groups.try_reserve(1).is_err() {
            return false;
        }
        let at = at.unwrap_or_else(|| {
            groups.push((group, Waiting::new()));
            groups.len() - 1
        });
        let waiting = &mut groups[at].1;
        let fits = waiting.try_reserve(sessions.len()).is_ok();
        if fits {
            waiting.extend(sessions.drain(..).map(|session| (session, why)));
        }
        fits
    }

    /// The next session of a group; with the last one the group goes.
    pub(super) fn next_of(&self, group: Group) -> Option<(Session, Why)> {
        let mut groups = self.groups.lock();
        let at = groups.iter().position(|(found, _)| *found == group)?;
        let waiting = &mut groups[at].1;
        if let Some((soon, _)) = waiting.get(AHEAD) {
            soon.prefetch();
        }
        let next = waiting.pop_front();
        let storage = next.is_none().then(|| groups.swap_remove(at));
        drop(groups);
        drop(storage);
        next
    }

    /// A group that is not finished.
    pub(super) fn any(&self) -> Option<Group> {
        self.groups.lock().first().map(|&(group, _)| group)
    }
}
