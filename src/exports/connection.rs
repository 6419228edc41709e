//! Functions of an `SSL`: what decides which context's cache it uses, and asking that cache.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_int, c_uchar, c_uint, c_void};

use super::{Failure, Real};
use crate::libssl::is_in_libssl;
use crate::libssl::types::*;
use crate::sharing::Event;
use crate::takeover::registry::Found;
use crate::takeover::{connections, trampolines};

/// The context whose cache a connection uses, if it is taken over.
#[inline(always)]
fn session_context<R: Failure>(real: &Real<'_, R>, ssl: SslRef<'_>) -> Option<Found> {
    connections::session_context_borrowed(real.libssl()?, ssl)
}

/// A connection that libssl has just made; `None` if it could not.
fn made<'a>(ssl: *mut SSL) -> Option<SslRef<'a>> {
    // SAFETY: the caller has not seen it.
    unsafe { SslRef::new(ssl) }
}

/// SSL_new(3). The connection inherits the context's session id generator of this moment.
pub(super) fn SSL_new(real: Real<'_, *mut SSL>, ctx: Option<CtxRef<'_>>) -> *mut SSL {
    let Some(ctx) = ctx else { return real.call() };
    let ssl = match connections::before_new(ctx) {
        Some(libssl) => real.call_of(libssl),
        None => real.call(),
    };
    if let Some(ssl) = made(ssl) {
        connections::begun(ssl, ctx);
    }
    ssl
}

/// SSL_dup(3). The copy has the program's session id generator of the original.
pub(super) fn SSL_dup(real: Real<'_, *mut SSL>, ssl: Option<SslRef<'_>>) -> *mut SSL {
    let Some(ssl) = ssl else { return <*mut SSL>::FAILURE };
    let Some(libssl) = real.libssl() else { return real.call() };
    let copy = real.call_of(libssl);
    if let Some(copy) = made(copy) {
        connections::duplicated(libssl, ssl, copy);
    }
    copy
}

/// SSL_set_SSL_CTX(3). The session cache stays that of the context given to SSL_new() (C13).
pub(super) fn SSL_set_SSL_CTX(
    real: Real<'_, *mut SSL_CTX>,
    ssl: Option<SslRef<'_>>,
    _ctx: Option<CtxRef<'_>>,
) -> *mut SSL_CTX {
    let Some(ssl) = ssl else { return <*mut SSL_CTX>::FAILURE };
    let libssl = real.libssl().and_then(|libssl| Some((libssl, libssl.api.as_ref()?)));
    let Some((libssl, api)) = libssl else { return real.call() };
    let before = (api.SSL_get_SSL_CTX)(ssl).map_or(0, CtxRef::address);
    let after = real.call_of(libssl);
    connections::switched(libssl, ssl, before, after.addr());
    after
}

/// SSL_set_cert_cb(3): as SSL_CTX_set_cert_cb(), for the context whose cache the connection uses.
pub(super) fn SSL_set_cert_cb(
    real: Real<'_, ()>,
    ssl: Option<SslRef<'_>>,
    callback: Option<CertificateCallback>,
    _argument: *mut c_void,
) {
    let Some(ssl) = ssl else { return };
    if let Some(context) = session_context(&real, ssl).filter(|_| callback.is_some()) {
        context
            .sharing()
            .into_iter()
            .for_each(|sharing| sharing.stand_aside(Event::AsideCertificate));
    }
    real.call();
}

/// SSL_set_generate_session_id(3). An id that a stored session has is refused, as in stock.
pub(super) fn SSL_set_generate_session_id(
    real: Real<'_, c_int>,
    ssl: Option<SslRef<'_>>,
    callback: Option<GenerateCallback>,
) -> c_int {
    let Some(ssl) = ssl else { return c_int::FAILURE };
    let Some(context) = session_context(&real, ssl) else { return real.call() };
    let installed = trampolines::generator_for(context.libssl, callback, false);
    let set = context.libssl.real.SSL_set_generate_session_id;
    // SAFETY: a live connection; our generator lives as long as the process.
    let result = set.map_or(0, |set| unsafe { set(Some(ssl), installed) });
    if result == 1 {
        connections::set_generator(context.libssl, ssl, callback);
    }
    result
}

/// SSL_has_matching_session_id(3): 1 if the connection's cache holds a session of its version with
/// this id, else 0 (C14).
pub(super) fn SSL_has_matching_session_id(
    real: Real<'_, c_int>,
    ssl: Option<SslRef<'_>>,
    id: *const c_uchar,
    length: c_uint,
) -> c_int {
    let Some(ssl) = ssl else { return c_int::FAILURE };
    let context = if is_in_libssl() { None } else { session_context(&real, ssl) };
    let Some(context) = context else { return real.call() };
    let length = length as usize;
    if length > SSL_MAX_SSL_SESSION_ID_LENGTH || (id.is_null() && length > 0) {
        return 0;
    }
    // SAFETY: the caller's id has this length; one of no length may be NULL.
    let id = if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(id, length) } };
    c_int::from(connections::has_matching(&context, ssl, id))
}
