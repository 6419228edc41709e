//! Functions of an `SSL_SESSION`: storing and removing one, and changing one that may be stored.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_int, c_long, c_uchar, c_uint};

use super::{managed, real_for, real_for_context};
use crate::libssl::types::*;
use crate::libssl::{Node, SessionRef, inside, is_inside, libssl};
use crate::options;
use crate::takeover::moved;

/// SSL_CTX_add_session(3): 1 if the session was stored or replaced another one with its key, 0 if
/// this very session was stored already, if it is NULL, or without memory (C3).
///
/// When the cache is full, the session that expires first leaves, never the one being stored; the
/// remove callback runs for it with no lock held (C2). With `SSLSWEEP_AUTOFLUSH=incremental` some sessions that
/// have expired leave in the same way.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_add_session(
    caller: Node,
    ctx: *mut SSL_CTX,
    session: *mut SSL_SESSION,
) -> c_int {
    match managed(ctx) {
        Some(managed) => {
            // SAFETY: the caller's session, alive during the call.
            let session = unsafe { SessionRef::new(managed.libssl(), session) };
            let stored = session.is_some_and(|session| managed.add(session));
            if stored && options::get().incremental {
                managed.flush_with_store();
            }
            c_int::from(stored)
        }
        // SAFETY: the caller's own arguments.
        None => real_for_context(caller, ctx, |behind| behind.SSL_CTX_add_session)
            .map_or(0, |add| unsafe { add(ctx, session) }),
    }
}

/// SSL_CTX_remove_session(3): 1 if something was stored under the session's key, else 0. The session
/// is marked not resumable and the remove callback runs with it in any case, unless it is NULL or
/// has no id: 0 (C5).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_remove_session(
    caller: Node,
    ctx: *mut SSL_CTX,
    session: *mut SSL_SESSION,
) -> c_int {
    match managed(ctx) {
        // SAFETY: the caller's session, alive during the call.
        Some(managed) => unsafe { SessionRef::new(managed.libssl(), session) }
            .map_or(0, |session| c_int::from(managed.remove(session))),
        // SAFETY: the caller's own arguments.
        None => real_for_context(caller, ctx, |behind| behind.SSL_CTX_remove_session)
            .map_or(0, |remove| unsafe { remove(ctx, session) }),
    }
}

/// Lets a setter of the time or timeout pass, and stored sessions follow it.
fn re_expire_after<R>(caller: Node, session: *mut SSL_SESSION, set: impl FnOnce() -> R) -> R {
    if is_inside() {
        return set();
    }
    // libssl's setter may call another one.
    let result = inside(set);
    // SAFETY: the caller's session, alive during the call.
    let session = libssl(caller).and_then(|libssl| unsafe { SessionRef::new(libssl, session) });
    if let Some(session) = session {
        moved::re_expire(session);
    }
    result
}

/// SSL_SESSION_set_time(3), seconds since the epoch: flush and eviction go by the new expiry (C6).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_SESSION_set_time(
    caller: Node,
    session: *mut SSL_SESSION,
    time: c_long,
) -> c_long {
    re_expire_after(caller, session, || {
        // SAFETY: the caller's own arguments.
        real_for(caller, session, |behind| behind.SSL_SESSION_set_time)
            .map_or(0, |set| unsafe { set(session, time) })
    })
}

/// SSL_SESSION_set_time_ex(3), seconds since the epoch: flush and eviction go by the new expiry (C6).
/// On a libssl before 3.3, which lacks it, it is made of SSL_SESSION_set_time().
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_SESSION_set_time_ex(
    caller: Node,
    session: *mut SSL_SESSION,
    time: libc::time_t,
) -> libc::time_t {
    re_expire_after(caller, session, || {
        if let Some(set_ex) = real_for(caller, session, |behind| behind.SSL_SESSION_set_time_ex) {
            // SAFETY: the caller's own arguments.
            return unsafe { set_ex(session, time) };
        }
        let clamped = time.clamp(c_long::MIN, c_long::MAX);
        // SAFETY: the caller's own arguments.
        real_for(caller, session, |behind| behind.SSL_SESSION_set_time)
            .map_or(0, |set| unsafe { set(session, clamped) })
    })
}

/// SSL_SESSION_set_timeout(3), seconds: flush and eviction go by the new expiry (C6).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_SESSION_set_timeout(
    caller: Node,
    session: *mut SSL_SESSION,
    timeout: c_long,
) -> c_long {
    re_expire_after(caller, session, || {
        // SAFETY: the caller's own arguments.
        real_for(caller, session, |behind| behind.SSL_SESSION_set_timeout)
            .map_or(0, |set| unsafe { set(session, timeout) })
    })
}

/// Lets a setter of what the key is made of pass; stored sessions are found by the new key (C18).
fn re_key_around<R>(caller: Node, session: *mut SSL_SESSION, set: impl FnOnce() -> R) -> R {
    match libssl(caller)
        // SAFETY: the caller's session, alive during the call.
        .and_then(|libssl| unsafe { SessionRef::new(libssl, session) })
    {
        Some(session) if !is_inside() => moved::re_key(session, set),
        _ => set(),
    }
}

/// SSL_SESSION_set1_id(3): a stored session is found by its new id afterwards (C18).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_SESSION_set1_id(
    caller: Node,
    session: *mut SSL_SESSION,
    id: *const c_uchar,
    length: c_uint,
) -> c_int {
    re_key_around(caller, session, || {
        // SAFETY: the caller's own arguments.
        real_for(caller, session, |behind| behind.SSL_SESSION_set1_id)
            .map_or(0, |set| unsafe { set(session, id, length) })
    })
}

/// SSL_SESSION_set_protocol_version(3): a stored session is found by its new version afterwards (C18).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_SESSION_set_protocol_version(
    caller: Node,
    session: *mut SSL_SESSION,
    version: c_int,
) -> c_int {
    re_key_around(caller, session, || {
        // SAFETY: the caller's own arguments.
        real_for(caller, session, |behind| behind.SSL_SESSION_set_protocol_version)
            .map_or(0, |set| unsafe { set(session, version) })
    })
}
