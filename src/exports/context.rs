//! Functions of an `SSL_CTX`: making one, and what the program sets and asks.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_char, c_int, c_long, c_void};

use super::{RealFn, for_unmanaged, managed};
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{CtxRef, is_inside, libssl_of_method};
use crate::takeover::{self, listing, trampolines};

/// Makes a context by the function of the libssl that the method is of (P3), and takes it over.
fn make(real: impl RealFn<*mut SSL_CTX>, method: *const SSL_METHOD) -> *mut SSL_CTX {
    let libssl = guard(None, || libssl_of_method(method).or_else(|| real.libssl()));
    let Some(libssl) = libssl else { return real.call() };
    let (caller, name) = real.caller();
    // Our own scratch context is not to be taken over.
    if is_inside() || libssl.api.is_none() || !guard(false, || caller.makes_its_own(name, libssl)) {
        return real.call_of(libssl);
    }
    takeover::make(libssl, || real.call_of(libssl))
}

/// SSL_CTX_new(3). The context's internal session cache is sslsweep's.
pub(super) fn SSL_CTX_new(
    real: impl RealFn<*mut SSL_CTX>,
    method: *const SSL_METHOD,
) -> *mut SSL_CTX {
    make(real, method)
}

/// SSL_CTX_new_ex(3). The context's internal session cache is sslsweep's.
pub(super) fn SSL_CTX_new_ex(
    real: impl RealFn<*mut SSL_CTX>,
    _library: *mut OSSL_LIB_CTX,
    _properties: *const c_char,
    method: *const SSL_METHOD,
) -> *mut SSL_CTX {
    make(real, method)
}

/// SSL_CTX_ctrl(3): the commands about the session cache are answered here, as the program's view
/// has it (C1, C7, C12); all others go to libssl.
pub(super) fn SSL_CTX_ctrl(
    real: impl RealFn<c_long>,
    ctx: Option<CtxRef<'_>>,
    command: c_int,
    larg: c_long,
    _parg: *mut c_void,
) -> c_long {
    let ours = matches!(
        command,
        SSL_CTRL_SESS_NUMBER
            | SSL_CTRL_SESS_CB_HIT
            | SSL_CTRL_SESS_MISSES
            | SSL_CTRL_SESS_CACHE_FULL
            | SSL_CTRL_SET_SESS_CACHE_SIZE
            | SSL_CTRL_GET_SESS_CACHE_SIZE
            | SSL_CTRL_SET_SESS_CACHE_MODE
            | SSL_CTRL_GET_SESS_CACHE_MODE
    );
    let Some(managed) = ours.then(|| managed(ctx)).flatten() else { return real.call() };
    guard(0, || match command {
        SSL_CTRL_SESS_NUMBER => managed.sessions(),
        SSL_CTRL_SESS_CB_HIT => managed.callback_hits(),
        SSL_CTRL_SESS_MISSES => managed.misses(),
        SSL_CTRL_SESS_CACHE_FULL => managed.cache_full(),
        SSL_CTRL_SET_SESS_CACHE_SIZE => managed.set_size(larg),
        SSL_CTRL_GET_SESS_CACHE_SIZE => managed.size(),
        SSL_CTRL_SET_SESS_CACHE_MODE => c_long::from(managed.set_mode(larg as u32)),
        _ => c_long::from(managed.mode()),
    })
}

/// SSL_CTX_sess_set_new_cb(3).
pub(super) fn SSL_CTX_sess_set_new_cb(
    real: impl RealFn<()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<NewCallback>,
) {
    match managed(ctx) {
        Some(managed) => managed.set_new(callback),
        None => for_unmanaged(real, ctx),
    }
}

/// SSL_CTX_sess_get_new_cb(3): the program's callback, never ours.
pub(super) fn SSL_CTX_sess_get_new_cb(
    real: impl RealFn<Option<NewCallback>>,
    ctx: Option<CtxRef<'_>>,
) -> Option<NewCallback> {
    match managed(ctx) {
        Some(managed) => managed.new_callback(),
        None => for_unmanaged(real, ctx),
    }
}

/// SSL_CTX_sess_set_remove_cb(3). May be called at any time, also in mid-flush: each session's
/// callback is the one set when its turn comes.
pub(super) fn SSL_CTX_sess_set_remove_cb(
    real: impl RealFn<()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<RemoveCallback>,
) {
    match managed(ctx) {
        Some(managed) => managed.set_remove(callback),
        None => for_unmanaged(real, ctx),
    }
}

/// SSL_CTX_sess_get_remove_cb(3): the program's callback, never ours.
pub(super) fn SSL_CTX_sess_get_remove_cb(
    real: impl RealFn<Option<RemoveCallback>>,
    ctx: Option<CtxRef<'_>>,
) -> Option<RemoveCallback> {
    match managed(ctx) {
        Some(managed) => managed.remove_callback(),
        None => for_unmanaged(real, ctx),
    }
}

/// SSL_CTX_sess_set_get_cb(3).
pub(super) fn SSL_CTX_sess_set_get_cb(
    real: impl RealFn<()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<GetCallback>,
) {
    match managed(ctx) {
        Some(managed) => managed.set_get(callback),
        None => for_unmanaged(real, ctx),
    }
}

/// SSL_CTX_sess_get_get_cb(3): the program's callback, never ours.
pub(super) fn SSL_CTX_sess_get_get_cb(
    real: impl RealFn<Option<GetCallback>>,
    ctx: Option<CtxRef<'_>>,
) -> Option<GetCallback> {
    match managed(ctx) {
        Some(managed) => managed.get_callback(),
        None => for_unmanaged(real, ctx),
    }
}

/// SSL_CTX_set_generate_session_id(3). An id that a stored session has is refused, as in stock.
pub(super) fn SSL_CTX_set_generate_session_id(
    real: impl RealFn<c_int>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<GenerateCallback>,
) -> c_int {
    let Some(managed) = managed(ctx) else { return for_unmanaged(real, ctx) };
    managed.set_generate(callback);
    let installed = trampolines::generator_for(managed.libssl(), callback);
    let set = managed.libssl().real.SSL_CTX_set_generate_session_id;
    // SAFETY: the caller's own context; our generator lives as long as the process.
    set.map_or(0, |set| unsafe { set(managed.ctx(), installed) })
}

/// SSL_CTX_sessions(3): a table of the sessions stored at this moment. It and its sessions stay until
/// the next call for this context after a session has come or gone, or the context's end; changing it changes
/// nothing else.
pub(super) fn SSL_CTX_sessions(
    real: impl RealFn<*mut LHASH>,
    ctx: Option<CtxRef<'_>>,
) -> *mut LHASH {
    match managed(ctx) {
        Some(managed) => listing::list(&managed),
        None => for_unmanaged(real, ctx),
    }
}
