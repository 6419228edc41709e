//! Flushing a managed context.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leaving::{Group, Why};
use super::{Managed, probes};
use crate::cache::{BATCH, Cutoff};
use crate::guard::guard;
use crate::libssl::Session;

/// How much a flush may do; it stops at whichever comes first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Budget {
    /// Sessions.
    pub(crate) sessions: Option<u64>,
    /// Time, which is looked at after each batch: one batch and its callbacks are the least.
    pub(crate) time: Option<Duration>,
}

/// What a flush did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flushed {
    /// Sessions removed.
    pub(crate) removed: u64,
    /// From the call to its return.
    pub(crate) took: Duration,
}

/// Removes the sessions that are due: F1 to F6.
///
/// Where the program set a remove callback, all that is due is detached first, in bounded batches,
/// and the callbacks run after that: what a callback stores again is left for the next flush, so
/// that a flush always ends. Without a callback each batch is freed at once. Should a callback not
/// return, what it left waiting is the next flush's. Returns how many sessions were removed.
pub(crate) fn flush(managed: &Arc<Managed>, cutoff: Cutoff) -> u64 {
    managed.run_abandoned();
    if !managed.cache().is_due(cutoff) {
        return 0;
    }
    flush_within(managed, cutoff, Budget::default()).removed
}

/// Removes sessions that are due as far as the budget goes, earliest expiry first. Where there is one,
/// callbacks run after each batch, since the next batch may be too much.
pub(crate) fn flush_within(managed: &Arc<Managed>, cutoff: Cutoff, budget: Budget) -> Flushed {
    managed.run_abandoned();
    let is_end = managed.is_end_published();
    let begun = Instant::now();
    let tm = match cutoff {
        Cutoff::All => 0,
        Cutoff::Before(second) => second,
    };
    probes::flush_start(managed.ctx(), tm);
    let removed = match Batches::begin(managed, cutoff) {
        Some(batches) => remove_in_batches(batches, budget, begun),
        None => remove_one_by_one(managed, cutoff, budget),
    };
    let took = begun.elapsed();
    if removed > 0 {
        managed.note_flush(removed, took, is_end);
    }
    probes::flush_done(managed.ctx(), removed, took.as_nanos() as u64);
    Flushed { removed, took }
}

fn remove_in_batches(mut batches: Batches<'_>, budget: Budget, begun: Instant) -> u64 {
    loop {
        let left = budget.sessions.map_or(u64::MAX, |most| most - batches.removed.min(most));
        let more = batches.remove(usize::try_from(left).unwrap_or(BATCH).min(BATCH));
        if budget.sessions.is_some() || budget.time.is_some() {
            batches.managed.run_callbacks(batches.group);
        }
        if !more || budget.time.is_some_and(|most| begun.elapsed() >= most) {
            break;
        }
    }
    batches.end()
}

/// The same without memory for a batch. It ends, whatever the callbacks store again.
fn remove_one_by_one(managed: &Arc<Managed>, cutoff: Cutoff, budget: Budget) -> u64 {
    let was_ending = managed.is_ending();
    let most = budget.sessions.unwrap_or(u64::MAX).min(managed.cache().len() as u64);
    let mut removed = 0;
    for _ in 0..most {
        let Some(session) = managed.cache().take_first_due(cutoff) else { break };
        let moved = !cutoff.reaches(session.expiry());
        let leaves = if moved { managed.put_back(session) } else { Some(session) };
        if let Some(session) = leaves {
            removed += 1;
            managed.leave_flushed(session);
        }
        if managed.is_ending() != was_ending {
            // That callback freed the context, whose end has taken the others.
            break;
        }
    }
    removed
}

/// A flush under way.
struct Batches<'a> {
    managed: &'a Arc<Managed>,
    cutoff: Cutoff,
    group: Group,
    detached: Vec<Session>,
    due: Vec<Session>,
    removed: u64,
}

impl<'a> Batches<'a> {
    /// Returns `None` if there is no memory for a batch.
    fn begin(managed: &'a Arc<Managed>, cutoff: Cutoff) -> Option<Self> {
        let batch = || {
            let mut sessions = Vec::new();
            sessions.try_reserve_exact(BATCH).ok().map(|()| sessions)
        };
        let (detached, due) = (batch()?, batch()?);
        Some(Self { managed, cutoff, group: managed.begin_group(), detached, due, removed: 0 })
    }

    /// Removes one batch, of `most` sessions. Returns whether more may be due.
    fn remove(&mut self, most: usize) -> bool {
        let Self { managed, cutoff, group, detached, due, removed } = self;
        let begun = Instant::now();
        let more = guard(false, || managed.cache().take_some_due(*cutoff, most, detached));
        if !detached.is_empty() {
            managed.note_batch(begun.elapsed());
        }
        detached.iter().for_each(|session| session.prefetch());
        for session in detached.drain(..) {
            // libssl itself may have moved the session's time, which it tells nobody.
            if cutoff.reaches(session.expiry()) {
                due.push(session);
            } else {
                due.extend(managed.put_back(session));
            }
        }
        *removed += due.len() as u64;
        managed.leave(*group, due, Why::Flushed);
        more
    }

    /// Runs the callbacks that are left, and tells how many sessions were removed.
    fn end(self) -> u64 {
        let Self { managed, group, removed, detached, due, .. } = self;
        // Callbacks may flush in turn.
        drop((detached, due));
        managed.run_callbacks(group);
        removed
    }
}

/// Removes some of the sessions that are due, with a store: `SSLSWEEP_AUTOFLUSH=incremental`.
pub(crate) fn flush_with_store(managed: &Arc<Managed>, now: i64) {
    /// More than one, so that what has expired grows less even if nothing else removes it.
    const SESSIONS: u64 = 4;
    let cutoff = Cutoff::Before(now);
    if managed.cache().is_due(cutoff) {
        flush_within(managed, cutoff, Budget { sessions: Some(SESSIONS), time: None });
    }
}
