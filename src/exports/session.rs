//! Functions of an `SSL_SESSION`: storing and removing one, and changing one that may be stored.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_int, c_long, c_uchar, c_uint};

use super::{Failure, Real, for_other, held};
use crate::libssl::types::{AnySession, CtxRef};
use crate::libssl::{SessionRef, is_in_libssl};
use crate::options;
use crate::takeover::sessions;

/// SSL_CTX_add_session(3): 1 if the session was stored or replaced another one with its key, 0 if
/// this very session was stored already, if it is NULL, or without memory (C3).
///
/// When the cache is full, the session that expires first leaves, never the one being stored; the
/// remove callback runs for it with no lock held (C2). With `SSLSWEEP_AUTOFLUSH=incremental` some sessions that
/// have expired leave in the same way.
pub(super) fn SSL_CTX_add_session(
    real: Real<'_, c_int>,
    ctx: Option<CtxRef<'_>>,
    session: Option<AnySession<'_>>,
) -> c_int {
    let Some(context) = held(ctx) else { return for_other(real, ctx) };
    let session = session.and_then(|session| SessionRef::of(context.libssl, session));
    let stored = session.is_some_and(|session| sessions::add(&context, session));
    if stored && options::get().incremental {
        context.flush_with_store();
    }
    context.obey();
    c_int::from(stored)
}

/// SSL_CTX_remove_session(3): 1 if something was stored under the session's key, else 0. The session
/// is marked not resumable and the remove callback runs with it in any case, unless it is NULL or
/// has no id: 0 (C5).
pub(super) fn SSL_CTX_remove_session(
    real: Real<'_, c_int>,
    ctx: Option<CtxRef<'_>>,
    session: Option<AnySession<'_>>,
) -> c_int {
    let Some(context) = held(ctx) else { return for_other(real, ctx) };
    let session = session.and_then(|session| SessionRef::of(context.libssl, session));
    let (removed, _stored) = session.map_or((false, None), |session| context.remove(session));
    context.obey();
    c_int::from(removed)
}

/// Lets a setter of the time or timeout pass, and stored sessions follow it.
#[inline(always)] // so that the real function is called directly
fn re_expire_after<R: Failure>(real: Real<'_, R>, session: Option<AnySession<'_>>) -> R {
    let Some(session) = session else { return R::FAILURE };
    let Some(libssl) = real.libssl() else { return real.call() };
    // (A setter that calls another one, through the PLT, comes here twice, which does no harm.)
    let result = real.call_of(libssl);
    if let Some(session) = SessionRef::of(libssl, session) {
        sessions::re_expire(session);
    }
    result
}

/// SSL_SESSION_set_time(3), seconds since the epoch: flush and eviction go by the new expiry (C6).
pub(super) fn SSL_SESSION_set_time(
    real: Real<'_, c_long>,
    session: Option<AnySession<'_>>,
    _time: c_long,
) -> c_long {
    re_expire_after(real, session)
}

/// SSL_SESSION_set_time_ex(3), seconds since the epoch: flush and eviction go by the new expiry (C6).
/// On a libssl before 3.3, which lacks it, it is SSL_SESSION_set_time().
pub(super) fn SSL_SESSION_set_time_ex(
    real: Real<'_, libc::time_t>,
    session: Option<AnySession<'_>>,
    _time: libc::time_t,
) -> libc::time_t {
    re_expire_after(real, session)
}

/// SSL_SESSION_set_timeout(3), seconds: flush and eviction go by the new expiry (C6).
pub(super) fn SSL_SESSION_set_timeout(
    real: Real<'_, c_long>,
    session: Option<AnySession<'_>>,
    _timeout: c_long,
) -> c_long {
    re_expire_after(real, session)
}

/// Lets a setter of what the key is made of pass; stored sessions are found by the new key (C18).
fn re_key_around<R: Failure>(real: Real<'_, R>, session: Option<AnySession<'_>>) -> R {
    let Some(session) = session else { return R::FAILURE };
    let Some(libssl) = real.libssl() else { return real.call() };
    match SessionRef::of(libssl, session) {
        Some(session) if !is_in_libssl() => sessions::re_key(session, || real.call_of(libssl)),
        _ => real.call_of(libssl),
    }
}

/// SSL_SESSION_set1_id(3): a stored session is found by its new id afterwards (C18).
pub(super) fn SSL_SESSION_set1_id(
    real: Real<'_, c_int>,
    session: Option<AnySession<'_>>,
    _id: *const c_uchar,
    _length: c_uint,
) -> c_int {
    re_key_around(real, session)
}

/// SSL_SESSION_set_protocol_version(3): a stored session is found by its new version afterwards (C18).
pub(super) fn SSL_SESSION_set_protocol_version(
    real: Real<'_, c_int>,
    session: Option<AnySession<'_>>,
    _version: c_int,
) -> c_int {
    re_key_around(real, session)
}
