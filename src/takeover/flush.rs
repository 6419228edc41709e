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
    let (mut detached, mut due) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    loop {
        let more = guard(false, || managed.cache().take_due(cutoff, &mut detached));
        detached.iter().for_each(|session| session.prefetch());
        for session in detached.drain(..) {
            // libssl itself may have moved the session's time, which it tells nobody.
            if cutoff.reaches(session.expiry()) {
                due.push(session);
            } else {
                managed.put_back(session);
            }
        }
        managed.leave(group, &mut due, Why::Flushed);
        if !more {
            break;
        }
    }
    managed.run_callbacks(group);
}
