//! How sessions leave a context: marked where they were flushed, called back for with no lock held, and dropped.

use super::Managed;
use super::leaving::{Group, Runner, Why};
use super::probes;
use super::running::{self, Call};
use crate::libssl::types::*;
use crate::libssl::{Session, SessionRef, inside};
use crate::stack::{has_still_to_return, this_thread};

impl Managed {
    /// Lets an evicted session go. It stays resumable for others (C19).
    pub(super) fn leave_evicted(&self, session: Session) {
        probes::evict(self.ctx(), session.as_ptr());
        self.call_remove(&session);
    }

    /// Lets one session go that was flushed.
    pub(super) fn leave_flushed(&self, session: Session) {
        self.mark_leaving(*session, Why::Flushed);
        self.call_remove(&session);
    }

    /// Lets sessions go that leave in some number: with [`Managed::run_callbacks`] where there is a
    /// remove callback to run, else, and where there is no memory to let them wait, at once.
    pub(super) fn leave(&self, group: Group, sessions: &mut Vec<Session>, why: Why) {
        if self.remove.get().is_some() && self.leaving.add(group, sessions, why) {
            return;
        }
        let was_ending = self.is_ending();
        let mut unfinished = Unfinished { managed: self, group, rest: sessions.drain(..), why };
        for session in unfinished.rest.by_ref() {
            self.mark_leaving(*session, why);
            self.call_remove(&session);
            // Before the question, as ex_data functions of the program may run.
            drop(session);
            if self.is_ending() != was_ending {
                // One of these freed the context, and nothing may be called on it any more.
                break;
            }
        }
    }

    /// Lets a session wait that libssl removes, with a lock held, because the context is going.
    pub(super) fn leave_later(&self, session: SessionRef) {
        let mut sessions = session.retain().into_iter().collect();
        self.leave(self.begin_group(), &mut sessions, Why::Other);
    }

    /// A group of sessions that leave together.
    pub(super) fn begin_group(&self) -> Group {
        self.leaving.begin()
    }

    /// Marks each session of a group if it was flushed, runs the program's remove callback for it
    /// with no lock held, and drops the cache's reference.
    #[inline(never)] // its call is looked for on the stack
    pub(super) fn run_callbacks(&self, group: Group) {
        let here = 0u8;
        let runner = Runner::Call { thread: this_thread(), variable: (&raw const here).addr() };
        if !self.leaving.set_runner(group, runner) {
            return;
        }
        let _abandoned = Abandoned { managed: self, group };
        while let Some((session, why)) = self.leaving.next_of(group) {
            self.mark_leaving(*session, why);
            self.call_remove(&session);
        }
    }

    /// Goes on with what callbacks that never returned have left waiting.
    pub(super) fn run_abandoned(&self) {
        let is_there =
            |variable| has_still_to_return(Self::run_callbacks as *mut std::ffi::c_void, variable);
        while let Some(group) = self.leaving.abandoned(is_there) {
            self.run_callbacks(group);
        }
    }

    fn mark_leaving(&self, session: SessionRef, why: Why) {
        if why == Why::Flushed {
            probes::expire(self.ctx(), session.as_ptr());
            self.mark_not_resumable(session);
        }
    }

    /// Returns whether the program's remove callback runs for this session on this thread. It is not called again
    /// then, whoever removes the session in it (C5).
    #[inline(always)] // see `running::count`
    pub(super) fn is_removing(&self, session: SessionRef) -> bool {
        self.removing(session) > 0
    }

    #[inline(always)] // as above
    fn removing(&self, session: SessionRef) -> usize {
        running::count(|| Call::removal(self, session))
    }

    /// For one that the program or libssl holds.
    pub(super) fn call_remove_borrowed(&self, session: SessionRef) {
        if self.remove.get().is_some() {
            session.retain().iter().for_each(|held| self.call_remove(held));
        }
    }

    /// The caller's own reference: a callback may leave by longjmp, and `running` then still knows the session.
    fn call_remove(&self, session: &Session) {
        self.call_remove_by(self.remove.get(), session);
    }

    /// Our remove callback was called from within the program's: by libssl, for which C5 holds; or by one that
    /// has taken the place of ours past us, which then stands for what that has replaced.
    pub(super) fn call_replaced_remove(&self, session: SessionRef) {
        if self.removing(session) == 1 {
            session
                .retain()
                .iter()
                .for_each(|held| self.call_remove_by(self.remove.replaced(), held));
        }
    }

    fn call_remove_by(&self, remove: Option<RemoveCallback>, session: &Session) {
        if let Some(remove) = remove {
            // SAFETY: the program's own callback, with a live context and session, no lock held.
            Call::remove(self, session).run(|| unsafe { remove(self.ctx(), session.as_ptr()) });
        }
    }

    /// Marks a session not resumable.
    ///
    /// The public ABI has one way: the real removal marks its argument even when it is absent. It
    /// runs through the session's own context, whose lock hardly anyone else takes now that lookups
    /// are ours. (Through a private context there is no contention at all, but making one can fail,
    /// and the gain did not show: see docs/benchmarks.md.)
    pub(super) fn mark_not_resumable(&self, session: SessionRef) {
        self.remove_real(session);
    }

    /// Adds a session of ours to the real cache.
    pub(super) fn add_real(&self, session: &Session) {
        // SAFETY: context and session are alive; the real cache takes a reference of its own.
        let added =
            inside(|| unsafe { (self.api().SSL_CTX_add_session)(self.ctx(), session.as_ptr()) });
        if added != 1 {
            // Out of memory, libssl before 4.0 takes its reference back but leaves the session in its
            // list, and gives up what it has not when it removes it: it gets one of ours.
            std::mem::forget(session.clone());
        }
    }

    /// Removes a session from the real cache, if libssl is not just freeing that.
    pub(super) fn remove_real(&self, session: SessionRef) {
        if let Some(ctx) = self.sentinel.context_for_removing(self) {
            // SAFETY: context and session are alive; our trampoline is silent meanwhile.
            inside(|| unsafe { (self.api().SSL_CTX_remove_session)(ctx, session.as_ptr()) });
        }
    }

    /// Runs what callbacks are left of any group: of flushes that this end interrupted, and of those
    /// that a callback never returned to.
    pub(super) fn finish_leaving(&self) {
        while let Some(group) = self.leaving.any() {
            self.run_callbacks(group);
        }
    }
}

/// Abandons a group when its callbacks are left by an exception or the end of the thread. (After the last of
/// them there is no such group.)
struct Abandoned<'a> {
    managed: &'a Managed,
    group: Group,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.managed.leaving.set_runner(self.group, Runner::Abandoned);
    }
}

/// Sessions that leave at once, whose turn comes later should that be left in the same way.
struct Unfinished<'a> {
    managed: &'a Managed,
    group: Group,
    rest: std::vec::Drain<'a, Session>,
    why: Why,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Self { managed, group, why, .. } = *self;
        let mut rest: Vec<_> = self.rest.by_ref().collect();
        if !rest.is_empty() && !managed.is_ending() {
            managed.leaving.add(group, &mut rest, why);
            managed.leaving.set_runner(group, Runner::Abandoned);
        }
    }
}
