//! Functions of an `SSL`: what decides which context's cache it uses, and asking that cache.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_int, c_uchar, c_uint};
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::{libssl_of, real_for};
use crate::libssl::types::*;
use crate::libssl::{Node, is_inside, libssl};
use crate::takeover::{self, Managed, connections, trampolines};

/// The managed context whose cache a connection uses; `None` for NULL.
fn session_context(caller: Node, ssl: *const SSL) -> Option<ManuallyDrop<Arc<Managed>>> {
    if ssl.is_null() { None } else { connections::session_context_borrowed(libssl(caller)?, ssl) }
}

/// SSL_new(3). The connection inherits the context's session id generator of this moment.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_new(caller: Node, ctx: *mut SSL_CTX) -> *mut SSL {
    takeover::take_in(ctx);
    // SAFETY: the caller's own argument.
    let ssl = libssl_of(caller, ctx)
        .and_then(|libssl| libssl.behind.SSL_new)
        .map_or(std::ptr::null_mut(), |new| unsafe { new(ctx) });
    if !ssl.is_null() {
        connections::begun(ssl, ctx);
    }
    ssl
}

/// SSL_dup(3). The copy has the program's session id generator of the original.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_dup(caller: Node, ssl: *mut SSL) -> *mut SSL {
    // SAFETY: the caller's own argument.
    let copy = real_for(caller, ssl, |behind| behind.SSL_dup)
        .map_or(std::ptr::null_mut(), |dup| unsafe { dup(ssl) });
    if !copy.is_null() {
        connections::duplicated(ssl, copy);
    }
    copy
}

/// SSL_set_SSL_CTX(3). The session cache stays that of the context given to SSL_new() (C13).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_set_SSL_CTX(
    caller: Node,
    ssl: *mut SSL,
    ctx: *mut SSL_CTX,
) -> *mut SSL_CTX {
    let libssl = libssl_of(caller, ctx).filter(|_| !ssl.is_null());
    let Some(set) = libssl.and_then(|libssl| libssl.behind.SSL_set_SSL_CTX) else {
        return std::ptr::null_mut();
    };
    let before = libssl
        .and_then(|libssl| libssl.api.as_ref())
        // SAFETY: the caller's own argument.
        .map_or(std::ptr::null_mut(), |api| unsafe { (api.SSL_get_SSL_CTX)(ssl) });
    // SAFETY: the caller's own arguments.
    let after = unsafe { set(ssl, ctx) };
    if !before.is_null() {
        connections::switched(ssl, before, after);
    }
    after
}

/// SSL_set_generate_session_id(3). An id that a stored session has is refused, as in stock.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_set_generate_session_id(
    caller: Node,
    ssl: *mut SSL,
    callback: Option<GenerateCallback>,
) -> c_int {
    let managed = session_context(caller, ssl);
    let installed = match &managed {
        Some(managed) => trampolines::generator_for(managed.libssl(), callback),
        None => callback,
    };
    // SAFETY: the caller's own connection; our generator lives as long as the process.
    let result = real_for(caller, ssl, |behind| behind.SSL_set_generate_session_id)
        .map_or(0, |set| unsafe { set(ssl, installed) });
    if managed.is_some() && result == 1 {
        connections::set_generator(ssl, callback);
    }
    result
}

/// SSL_has_matching_session_id(3): 1 if the connection's cache holds a session of its version with
/// this id, else 0 (C14).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_has_matching_session_id(
    caller: Node,
    ssl: *const SSL,
    id: *const c_uchar,
    length: c_uint,
) -> c_int {
    let managed = if is_inside() { None } else { session_context(caller, ssl) };
    let Some(managed) = managed else {
        // SAFETY: the caller's own arguments.
        return real_for(caller, ssl, |behind| behind.SSL_has_matching_session_id)
            .map_or(0, |has| unsafe { has(ssl, id, length) });
    };
    let length = length as usize;
    if length > SSL_MAX_SSL_SESSION_ID_LENGTH || (id.is_null() && length > 0) {
        return 0;
    }
    // SAFETY: the caller's id has this length; one of no length may be NULL.
    let id = if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(id, length) } };
    c_int::from(connections::has_matching(&managed, ssl.cast_mut(), id))
}
