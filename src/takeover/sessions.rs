//! Operations on a session wherever it is stored: storing it, and following a change that the program makes to its time or
//! timeout (C6), or to its version or id (C18).
//!
//! A session does not know where it is stored, and may be stored in several contexts (C17), so each
//! context that stores sessions is asked; none if the session is stored nowhere ([`super::counts`]).

use super::context::Held;
use super::counts::note_change;
use super::registry::{for_each_storing, last_storing};
use crate::libssl::SessionRef;
use crate::libssl::types::{SSL_MAX_SSL_SESSION_ID_LENGTH, SSL_SESS_CACHE_UPDATE_TIME};
use crate::time;

/// `SSL_CTX_add_session`: stores a session in a context. Returns whether it was stored or replaced another one (C3).
pub(crate) fn add(context: &Held, session: SessionRef<'_>) -> bool {
    if !context.lacks(SSL_SESS_CACHE_UPDATE_TIME) {
        session.set_time(time::now());
        // It may be stored elsewhere too.
        re_expire(session);
    }
    // Before the first store, as the end of a context that stores must not go unnoticed; and after a flush past us.
    context.set_storing(true);
    context.plant_sentinel();
    context.store(session)
}

/// The session's time or timeout has been set: it is flushed and evicted by its new expiry.
#[inline]
pub(crate) fn re_expire(session: SessionRef<'_>) {
    match note_change(session) {
        0 => {}
        // Mostly in the context that this thread has used last.
        1 if last_storing().is_some_and(|context| context.re_expire(session)) => {}
        _ => re_expire_everywhere(session),
    }
}

#[inline(never)] // what mostly is not called makes no room on the stack
fn re_expire_everywhere(session: SessionRef<'_>) {
    for_each_storing(|context| {
        context.re_expire(session);
    });
}

/// Makes a `change` to the session's version or id; wherever it is stored, it is found by the new
/// key afterwards.
pub(crate) fn re_key<R>(session: SessionRef<'_>, change: impl FnOnce() -> R) -> R {
    let version = session.version();
    let mut id = [0; SSL_MAX_SSL_SESSION_ID_LENGTH];
    let length = session.id().len();
    id[..length].copy_from_slice(session.id());

    let result = change();

    if note_change(session) > 0 {
        for_each_storing(|context| context.re_key(session, version, &id[..length]));
    }
    result
}
