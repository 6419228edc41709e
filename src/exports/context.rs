//! Functions of an `SSL_CTX`: making one, and what the program sets and asks.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_char, c_int, c_long, c_void};

use super::{libssl_of, managed, real_for_context};
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Behind, Node, is_inside, libssl_of_method};
use crate::takeover::{self, listing, trampolines};

/// Makes a context by the function of the libssl that the method is of (P3), and takes it over.
fn make(
    caller: Node,
    method: *const SSL_METHOD,
    new: impl FnOnce(&'static Behind) -> Option<*mut SSL_CTX>,
) -> *mut SSL_CTX {
    let libssl = guard(None, || libssl_of_method(caller, method));
    let Some(libssl) = libssl else { return std::ptr::null_mut() };
    let new = || new(&libssl.behind).unwrap_or(std::ptr::null_mut());
    // Our own scratch context is not to be taken over.
    if is_inside() { new() } else { takeover::make(libssl, new) }
}

/// SSL_CTX_new(3). The context's internal session cache is sslsweep's.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_new(caller: Node, method: *const SSL_METHOD) -> *mut SSL_CTX {
    // SAFETY: the caller's own argument.
    make(caller, method, |behind| Some(unsafe { behind.SSL_CTX_new?(method) }))
}

/// SSL_CTX_new_ex(3). The context's internal session cache is sslsweep's.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_new_ex(
    caller: Node,
    library: *mut OSSL_LIB_CTX,
    properties: *const c_char,
    method: *const SSL_METHOD,
) -> *mut SSL_CTX {
    make(caller, method, |behind| {
        // SAFETY: the caller's own arguments.
        Some(unsafe { behind.SSL_CTX_new_ex?(library, properties, method) })
    })
}

/// SSL_CTX_ctrl(3): the commands about the session cache are answered here, as the program's view
/// has it (C1, C7, C12); all others go to libssl.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_ctrl(
    caller: Node,
    ctx: *mut SSL_CTX,
    command: c_int,
    larg: c_long,
    parg: *mut c_void,
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
    if let Some(managed) = ours.then(|| managed(ctx)).flatten() {
        return guard(0, || match command {
            SSL_CTRL_SESS_NUMBER => managed.sessions(),
            SSL_CTRL_SESS_CB_HIT => managed.callback_hits(),
            SSL_CTRL_SESS_MISSES => managed.misses(),
            SSL_CTRL_SESS_CACHE_FULL => managed.cache_full(),
            SSL_CTRL_SET_SESS_CACHE_SIZE => managed.set_size(larg),
            SSL_CTRL_GET_SESS_CACHE_SIZE => managed.size(),
            SSL_CTRL_SET_SESS_CACHE_MODE => c_long::from(managed.set_mode(larg as u32)),
            _ => c_long::from(managed.mode()),
        });
    }
    // SAFETY: the caller's own arguments.
    libssl_of(caller, ctx)
        .and_then(|libssl| libssl.behind.SSL_CTX_ctrl)
        .map_or(0, |ctrl| unsafe { ctrl(ctx, command, larg, parg) })
}

/// SSL_CTX_sess_set_new_cb(3).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_sess_set_new_cb(
    caller: Node,
    ctx: *mut SSL_CTX,
    callback: Option<NewCallback>,
) {
    if let Some(managed) = managed(ctx) {
        managed.set_new(callback);
    } else if let Some(set) = real_for_context(caller, ctx, |behind| behind.SSL_CTX_sess_set_new_cb)
    {
        // SAFETY: the caller's own arguments.
        unsafe { set(ctx, callback) };
    }
}

/// SSL_CTX_sess_get_new_cb(3): the program's callback, never ours.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_sess_get_new_cb(
    caller: Node,
    ctx: *mut SSL_CTX,
) -> Option<NewCallback> {
    match managed(ctx) {
        Some(managed) => managed.new_callback(),
        // SAFETY: the caller's own argument.
        None => real_for_context(caller, ctx, |behind| behind.SSL_CTX_sess_get_new_cb)
            .and_then(|get| unsafe { get(ctx) }),
    }
}

/// SSL_CTX_sess_set_remove_cb(3). May be called at any time, also in mid-flush: each session's
/// callback is the one set when its turn comes.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_sess_set_remove_cb(
    caller: Node,
    ctx: *mut SSL_CTX,
    callback: Option<RemoveCallback>,
) {
    if let Some(managed) = managed(ctx) {
        managed.set_remove(callback);
    } else if let Some(set) =
        real_for_context(caller, ctx, |behind| behind.SSL_CTX_sess_set_remove_cb)
    {
        // SAFETY: the caller's own arguments.
        unsafe { set(ctx, callback) };
    }
}

/// SSL_CTX_sess_get_remove_cb(3): the program's callback, never ours.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_sess_get_remove_cb(
    caller: Node,
    ctx: *mut SSL_CTX,
) -> Option<RemoveCallback> {
    match managed(ctx) {
        Some(managed) => managed.remove_callback(),
        // SAFETY: the caller's own argument.
        None => real_for_context(caller, ctx, |behind| behind.SSL_CTX_sess_get_remove_cb)
            .and_then(|get| unsafe { get(ctx) }),
    }
}

/// SSL_CTX_sess_set_get_cb(3).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_sess_set_get_cb(
    caller: Node,
    ctx: *mut SSL_CTX,
    callback: Option<GetCallback>,
) {
    if let Some(managed) = managed(ctx) {
        managed.set_get(callback);
    } else if let Some(set) = real_for_context(caller, ctx, |behind| behind.SSL_CTX_sess_set_get_cb)
    {
        // SAFETY: the caller's own arguments.
        unsafe { set(ctx, callback) };
    }
}

/// SSL_CTX_sess_get_get_cb(3): the program's callback, never ours.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_sess_get_get_cb(
    caller: Node,
    ctx: *mut SSL_CTX,
) -> Option<GetCallback> {
    match managed(ctx) {
        Some(managed) => managed.get_callback(),
        // SAFETY: the caller's own argument.
        None => real_for_context(caller, ctx, |behind| behind.SSL_CTX_sess_get_get_cb)
            .and_then(|get| unsafe { get(ctx) }),
    }
}

/// SSL_CTX_set_generate_session_id(3). An id that a stored session has is refused, as in stock.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_set_generate_session_id(
    caller: Node,
    ctx: *mut SSL_CTX,
    callback: Option<GenerateCallback>,
) -> c_int {
    let callback = match managed(ctx) {
        Some(managed) => {
            managed.set_generate(callback);
            trampolines::generator_for(managed.libssl(), callback)
        }
        None => callback,
    };
    // SAFETY: the caller's own context; our generator lives as long as the process.
    real_for_context(caller, ctx, |behind| behind.SSL_CTX_set_generate_session_id)
        .map_or(0, |set| unsafe { set(ctx, callback) })
}

/// SSL_CTX_sessions(3): a table of the sessions stored at this moment. It and its sessions stay until
/// the next call for this context after a session has come or gone, or the context's end; changing it changes
/// nothing else.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn SSL_CTX_sessions(caller: Node, ctx: *mut SSL_CTX) -> *mut LHASH {
    match managed(ctx) {
        Some(managed) => listing::list(&managed),
        // SAFETY: the caller's own argument.
        None => real_for_context(caller, ctx, |behind| behind.SSL_CTX_sessions)
            .map_or(std::ptr::null_mut(), |sessions| unsafe { sessions(ctx) }),
    }
}
