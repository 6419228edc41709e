//! Flushing a managed context.

use std::sync::Arc;

use super::Managed;
use super::leaving::Why;
use crate::cache::{BATCH, Cutoff};
use crate::guard::guard;

/// Removes the sessions that are due: F1 to F6.
///
/// Where the program set a remove callback, all that is due is detached first, in bounded batches,
/// and the callbacks run after that: what a callback stores again is left for the next flush, so
/// that a flush always ends. Without a callback each batch is freed at once. Should a callback not
/// return, what it left waiting is the next flush's.
pub(crate) fn flush(managed: &Arc<Managed>, cutoff: Cutoff) {
    managed.run_abandoned();
    if !managed.cache().is_due(cutoff) {
        return;
    }
    let group = managed.begin_group();
    let (mut detached, mut due) = (Vec::new(), Vec::new());
    if detached.try_reserve_exact(BATCH).is_err() || due.try_reserve_exact(BATCH).is_err() {
        return flush_one_by_one(managed, cutoff);
    }
    loop {
        let more = guard(false, || managed.cache().take_due(cutoff, &mut detached));
        detached.iter().for_each(|session| session.prefetch());
        for session in detached.drain(..) {
            // libssl itself may have moved the session's time, which it tells nobody.
            if cutoff.reaches(session.expiry()) {
                due.push(session);
            } else {
                due.extend(managed.put_back(session));
            }
        }
        managed.leave(group, &mut due, Why::Flushed);
        if !more {
            break;
        }
    }
    // Callbacks may flush in turn.
    drop((detached, due));
    managed.run_callbacks(group);
}

/// The same without memory for a batch. It ends, whatever the callbacks store again.
fn flush_one_by_one(managed: &Arc<Managed>, cutoff: Cutoff) {
    let was_ending = managed.is_ending();
    for _ in 0..managed.cache().len() {
        let Some(session) = managed.cache().take_first_due(cutoff) else { break };
        let moved = !cutoff.reaches(session.expiry());
        let leaves = if moved { managed.put_back(session) } else { Some(session) };
        if let Some(session) = leaves {
            managed.leave_flushed(session);
        }
        if managed.is_ending() != was_ending {
            // That callback freed the context, whose end has taken the others.
            break;
        }
    }
}
