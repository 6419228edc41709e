//! How sessions leave a context: marked where they were flushed, called back for with no lock held, and dropped.

use std::slice::from_ref;

use super::leaving::{Group, Runner, Why};
use super::running::{self, Call};
use super::state::Context;
use crate::libssl::types::RemoveCallback;
use crate::libssl::{Session, SessionRef};
use crate::stack::{here, this_thread};
use crate::time;

impl Context {
    /// Lets an evicted session go. It stays resumable for others (C19).
    pub(super) fn leave_evicted(&self, session: &Session) {
        self.events.evict(session.get());
        self.call_remove(session);
    }

    /// Lets one session go that was flushed.
    pub(super) fn leave_flushed(&self, session: &Session) {
        self.mark_leaving(from_ref(session), Why::Flushed);
        self.call_remove(session);
    }

    /// Lets sessions go that leave in some number: with [`Context::run_callbacks`] where there is a
    /// remove callback to run, else, and where there is no memory to let them wait, at once.
    pub(super) fn leave(&self, group: Group, sessions: &mut Vec<Session>, why: Why) {
        if self.remove.get().is_some() && self.leaving.add(group, sessions, why) {
            return;
        }
        let was_ending = self.is_ending();
        self.mark_leaving(sessions, why);
        sessions.reverse();
        let unfinished = Unfinished { context: self, group, rest: sessions };
        while let Some(session) = unfinished.rest.pop() {
            self.call_remove(&session);
            // Before the question, as ex_data functions of the program may run.
            drop(session);
            if self.is_ending() != was_ending {
                // One of these freed the context, and nothing may be called on it any more.
                break;
            }
        }
    }

    /// Lets a session wait that libssl removes, with a lock held, because the context is going. Out of memory its callback
    /// runs under that lock, as in stock.
    pub(crate) fn leave_later(&self, session: SessionRef<'_>) {
        let mut sessions = Vec::new();
        if sessions.try_reserve_exact(1).is_err() {
            return self.call_remove_borrowed(session);
        }
        sessions.extend(session.retain());
        self.leave(self.begin_group(), &mut sessions, Why::Other);
    }

    /// A group of sessions that leave together.
    pub(super) fn begin_group(&self) -> Group {
        self.leaving.begin()
    }

    /// Marks each session of a group if it was flushed, runs the program's remove callback for it
    /// with no lock held, and drops the cache's reference.
    #[inline(never)] // a frame of its own, below that of whoever flushes
    pub(super) fn run_callbacks(&self, group: Group) {
        let variable = 0u8;
        let runner = Runner::Call { thread: this_thread(), stack: here(&variable) };
        if !self.leaving.set_runner(group, runner) {
            return;
        }
        let _abandoned = Abandoned { context: self, group };
        while let Some((session, why)) = self.leaving.next_of(group) {
            self.mark_leaving(from_ref(&session), why);
            self.call_remove(&session);
        }
    }

    /// Goes on with what callbacks that never returned have left waiting, for a flush whose caller is `here` on the stack.
    pub(super) fn run_abandoned(&self, here: usize) {
        while let Some(group) = self.leaving.abandoned(here) {
            self.run_callbacks(group);
        }
    }

    fn mark_leaving(&self, sessions: &[Session], why: Why) {
        if why == Why::Flushed {
            sessions.iter().for_each(|session| self.events.expire(session.get()));
            self.mark_all_not_resumable(sessions);
            // Nobody else is to have one that was flushed. (What has expired nobody resumes anyway.)
            if let Some(sharing) = self.sharing() {
                let fresh = |session: &SessionRef<'_>| session.expiry().seconds() > time::now();
                let fresh = sessions.iter().map(Session::get).filter(fresh);
                fresh.for_each(|session| sharing.forget(session, true));
            }
        }
    }

    /// Returns whether the program's remove callback runs for this session on this thread. It is not called again
    /// then, whoever removes the session in it (C5).
    #[inline(always)] // see `running::count`
    pub(crate) fn is_removing(&self, session: SessionRef<'_>) -> bool {
        self.removing(session) > 0
    }

    #[inline(always)] // as above
    fn removing(&self, session: SessionRef<'_>) -> usize {
        running::count(|| Call::removal(self, session))
    }

    /// For one that the program or libssl holds.
    pub(super) fn call_remove_borrowed(&self, session: SessionRef<'_>) {
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
    pub(crate) fn call_replaced_remove(&self, session: SessionRef<'_>) {
        if self.removing(session) == 1 {
            session
                .retain()
                .iter()
                .for_each(|held| self.call_remove_by(self.remove.replaced(), held));
        }
    }

    fn call_remove_by(&self, remove: Option<RemoveCallback>, session: &Session) {
        if let Some(remove) = remove {
            Call::remove(self, session).run(|| remove(self.ctx(), session.get().any()));
        }
    }

    /// Runs what callbacks are left of any group: of flushes that this end interrupted, and of those
    /// that a callback never returned to.
    pub(crate) fn finish_leaving(&self) {
        while let Some(group) = self.leaving.any() {
            self.run_callbacks(group);
        }
    }
}

/// Abandons a group when its callbacks are left by an exception or the end of the thread. (After the last of
/// them there is no such group.)
struct Abandoned<'a> {
    context: &'a Context,
    group: Group,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.context.leaving.set_runner(self.group, Runner::Abandoned);
    }
}

/// Sessions that leave at once, marked, last first, whose turn comes later should that be left in the same way.
struct Unfinished<'a> {
    context: &'a Context,
    group: Group,
    rest: &'a mut Vec<Session>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Self { context, group, ref mut rest } = *self;
        // Of a context that has ended, nothing may be called any more.
        if !rest.is_empty() && !context.is_ending() {
            rest.reverse();
            if context.leaving.add(group, rest, Why::Other) {
                context.leaving.set_runner(group, Runner::Abandoned);
            }
        }
        rest.clear();
    }
}
