//! Flushing a context, and its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leaving::{Group, Why};
use super::state::Context;
use crate::cache::{BATCH, Cutoff};
use crate::guard::guard;
use crate::libssl::Session;
use crate::libssl::types::SSL_SESS_CACHE_NO_AUTO_CLEAR;
use crate::sharing::Sharing;
use crate::stack::here;
use crate::{options, time};

/// How much a flush may do; it stops at whichever comes first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Budget {
    /// Sessions.
    pub(crate) sessions: Option<u64>,
    /// Time, which is looked at after each batch: one batch and its callbacks are the least.
    pub(crate) time: Option<Duration>,
}

impl Context {
    /// A flush that the program asks for; or libssl from within `SSL_CTX_free`, where it goes through the PLT, so that its
    /// sessions leave with a context in this way. Then the operator is to know that they were not flushed; and where
    /// nothing else will tell of the end, nothing is left behind. `here` is where its caller is on the stack. Returns how many
    /// sessions were removed.
    pub(crate) fn flush_for_caller(
        self: &Arc<Self>,
        cutoff: Cutoff,
        budget: Budget,
        here: usize,
    ) -> u64 {
        self.take_in();
        let is_whole = cutoff == Cutoff::All;
        let is_of_interest = self.events.is_published() || self.sharing().is_some();
        if is_whole && is_of_interest && self.is_being_freed() == Some(true) {
            self.publish_end();
            self.keep_shared();
        }
        let removed = self.flush_within(cutoff, budget, here);
        if is_whole && self.is_storing() && !self.is_watched() {
            self.set_storing(false);
            self.remove_sentinel();
        }
        removed
    }

    /// Removes the sessions that are due: [`Context::flush_within`] without a bound.
    #[inline(never)] // `variable` is in a frame above that of the callbacks
    pub(crate) fn flush(self: &Arc<Self>, cutoff: Cutoff) -> u64 {
        let variable = 0u8;
        self.flush_within(cutoff, Budget::default(), here(&variable))
    }

    /// Removes the sessions that are due, as far as the budget goes, earliest expiry first: F1 to F6. Returns how many
    /// that were.
    ///
    /// Where the program set a remove callback, all that is due is detached first, in bounded batches,
    /// and the callbacks run after that: what a callback stores again is left for the next flush, so
    /// that a flush always ends. With a budget they run after each batch, since the next one may be too much. Without a
    /// callback each batch is freed at once. Should a callback not return, what it left waiting is that of the next flush
    /// that is no deeper on the stack than `here`.
    fn flush_within(self: &Arc<Self>, cutoff: Cutoff, budget: Budget, here: usize) -> u64 {
        self.run_abandoned(here);
        if let Some(sharing) = self.sharing() {
            sharing.flushed(match cutoff {
                Cutoff::All => i64::MAX,
                Cutoff::Before(second) => second,
            });
        }
        if !self.cache.is_due(cutoff) {
            return 0;
        }
        let is_end = self.events.is_end_begun();
        let begun = Instant::now();
        self.events.begin_flush(cutoff);
        let removed = match Batches::begin(self, cutoff) {
            Some(batches) => remove_in_batches(batches, budget, begun),
            None => remove_one_by_one(self, cutoff, budget),
        };
        self.events.end_flush(removed, begun.elapsed(), is_end, &self.cache);
        removed
    }

    /// Flushes after each 255 sessions of handshakes (C8); with `SSLSWEEP_AUTOFLUSH=incremental`, some sessions after each.
    pub(crate) fn auto_flush(self: &Arc<Self>) {
        if options::get().incremental {
            self.flush_with_store();
        } else if self.count_toward_flush() {
            self.flush(Cutoff::Before(time::now()));
        }
    }

    /// With `SSLSWEEP_AUTOFLUSH=incremental`: some of what is due leaves with a store, unless the program wants no flush
    /// but its own.
    pub(crate) fn flush_with_store(self: &Arc<Self>) {
        /// More than one, so that what has expired grows less even if nothing else removes it.
        const SESSIONS: u64 = 4;
        let cutoff = Cutoff::Before(time::now());
        if self.lacks(SSL_SESS_CACHE_NO_AUTO_CLEAR) && self.cache.is_due(cutoff) {
            let (variable, budget) = (0u8, Budget { sessions: Some(SESSIONS), time: None });
            self.flush_within(cutoff, budget, here(&variable));
        }
    }

    /// The context is going: nothing is stored any more, and everything leaves with its callback.
    pub(crate) fn end(self: &Arc<Self>) {
        self.reap_all();
        self.set_ending();
        self.publish_end();
        self.keep_shared();
        self.flush(Cutoff::All);
        self.finish_leaving();
        self.listings.end();
    }

    /// All sessions are about to leave because the context ends. Others keep them: reload and restart live on that.
    fn keep_shared(&self) {
        self.sharing().into_iter().for_each(Sharing::close);
    }

    /// All sessions are about to leave because the context ends, and were not flushed to the operator.
    pub(crate) fn publish_end(&self) {
        if self.events.is_published() {
            self.publish_view();
            self.events.begin_end(self.cache.statistics().flushed);
        }
    }

    /// Everything has been flushed past us (P12). Up to 3.6.3 this thread holds the context's lock, also while the
    /// callbacks run, as with stock libssl. The next store plants the sentinel again.
    pub(crate) fn flush_after_libssl(self: &Arc<Self>) {
        /// Also when a callback ends the thread or throws.
        struct Over<'a>(&'a Context);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.sentinel.rise();
            }
        }
        self.sentinel.fall_here();
        let _over = Over(self);
        self.put_all_back();
        self.flush(Cutoff::All);
    }
}

fn remove_in_batches(mut batches: Batches<'_>, budget: Budget, begun: Instant) -> u64 {
    loop {
        let left = budget.sessions.map_or(u64::MAX, |most| most - batches.removed.min(most));
        let more = batches.remove(usize::try_from(left).unwrap_or(BATCH).min(BATCH));
        if budget.sessions.is_some() || budget.time.is_some() {
            batches.context.run_callbacks(batches.group);
        }
        if !more || budget.time.is_some_and(|most| begun.elapsed() >= most) {
            break;
        }
    }
    batches.end()
}

/// The same without memory for a batch. It ends, whatever the callbacks store again.
fn remove_one_by_one(context: &Arc<Context>, cutoff: Cutoff, budget: Budget) -> u64 {
    let was_ending = context.is_ending();
    let most = budget.sessions.unwrap_or(u64::MAX).min(context.cache.len() as u64);
    let mut removed = 0;
    for _ in 0..most {
        let Some(session) = context.cache.take_first_due(cutoff) else { break };
        let moved = !cutoff.reaches(session.get().expiry());
        let leaves = if moved { context.put_back(session) } else { Some(session) };
        if let Some(session) = leaves {
            removed += 1;
            context.leave_flushed(&session);
        }
        if context.is_ending() != was_ending {
            // That callback freed the context, whose end has taken the others.
            break;
        }
    }
    removed
}

/// A flush under way.
struct Batches<'a> {
    context: &'a Arc<Context>,
    cutoff: Cutoff,
    group: Group,
    detached: Vec<Session>,
    due: Vec<Session>,
    removed: u64,
}

impl<'a> Batches<'a> {
    /// Returns `None` if there is no memory for a batch.
    fn begin(context: &'a Arc<Context>, cutoff: Cutoff) -> Option<Self> {
        let batch = || {
            let mut sessions = Vec::new();
            sessions.try_reserve_exact(BATCH).ok().map(|()| sessions)
        };
        let (detached, due) = (batch()?, batch()?);
        Some(Self { context, cutoff, group: context.begin_group(), detached, due, removed: 0 })
    }

    /// Removes one batch, of `most` sessions. Returns whether more may be due.
    fn remove(&mut self, most: usize) -> bool {
        let Self { context, cutoff, group, detached, due, removed } = self;
        let begun = Instant::now();
        let more = guard(false, || context.cache.take_some_due(*cutoff, most, detached));
        if !detached.is_empty() {
            context.events.batch(begun.elapsed());
        }
        detached.iter().for_each(|session| session.get().prefetch());
        for session in detached.drain(..) {
            // libssl itself may have moved the session's time, which it tells nobody.
            if cutoff.reaches(session.get().expiry()) {
                due.push(session);
            } else {
                due.extend(context.put_back(session));
            }
        }
        *removed += due.len() as u64;
        context.leave(*group, due, Why::Flushed);
        more
    }

    /// Runs the callbacks that are left, and tells how many sessions were removed.
    fn end(self) -> u64 {
        let Self { context, group, removed, detached, due, .. } = self;
        // Callbacks may flush in turn.
        drop((detached, due));
        context.run_callbacks(group);
        removed
    }
}
