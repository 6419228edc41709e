//! Functions of an `SSL_CTX`: making one, and what the program sets and asks.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr;

use super::{Real, ask, for_other, taken_over};
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{is_in_libssl, libssl_of_method};
use crate::sharing::Event;
use crate::takeover::context::Context;
use crate::takeover::{lifetime, tickets, trampolines};

/// Makes a context by the function of the libssl that the method is of (P3), in this library context, and takes it over.
fn make(
    real: Real<'_, *mut SSL_CTX>,
    library: *mut OSSL_LIB_CTX,
    method: *const SSL_METHOD,
) -> *mut SSL_CTX {
    let libssl = guard(None, || libssl_of_method(method).or_else(|| real.libssl()));
    let Some(libssl) = libssl else { return real.call() };
    // Our own scratch context is not to be taken over.
    if is_in_libssl()
        || libssl.api.is_none()
        || !guard(false, || real.caller.makes_its_own(real.name, libssl))
    {
        return real.call_of(libssl);
    }
    lifetime::make(libssl, trampolines::of(libssl), library, || real.call_of(libssl))
}

/// SSL_CTX_new(3). The context's internal session cache is sslsweep's.
pub(super) fn SSL_CTX_new(real: Real<'_, *mut SSL_CTX>, method: *const SSL_METHOD) -> *mut SSL_CTX {
    make(real, ptr::null_mut(), method)
}

/// SSL_CTX_new_ex(3). The context's internal session cache is sslsweep's.
pub(super) fn SSL_CTX_new_ex(
    real: Real<'_, *mut SSL_CTX>,
    library: *mut OSSL_LIB_CTX,
    _properties: *const c_char,
    method: *const SSL_METHOD,
) -> *mut SSL_CTX {
    make(real, library, method)
}

/// SSL_CTX_ctrl(3): the commands about the session cache are answered here, as the program's view
/// has it (C1, C7, C12); all others go to libssl.
pub(super) fn SSL_CTX_ctrl(
    real: Real<'_, c_long>,
    ctx: Option<CtxRef<'_>>,
    command: c_int,
    larg: c_long,
    parg: *mut c_void,
) -> c_long {
    // (With NULL it asks for their size.)
    if command == SSL_CTRL_SET_TLSEXT_TICKET_KEYS && !parg.is_null() {
        tickets::withdraw();
    }
    let Some(context) = taken_over(ctx) else { return real.call() };
    let answer = guard(Some(0), || {
        Some(match command {
            SSL_CTRL_SESS_NUMBER => context.sessions(),
            SSL_CTRL_SESS_CB_HIT => context.callback_hits(),
            SSL_CTRL_SESS_MISSES => context.misses(),
            SSL_CTRL_SESS_CACHE_FULL => context.cache_full(),
            SSL_CTRL_SET_SESS_CACHE_SIZE => context.set_size(larg),
            SSL_CTRL_GET_SESS_CACHE_SIZE => context.size(),
            SSL_CTRL_SET_SESS_CACHE_MODE => c_long::from(context.set_mode(larg as u32)),
            SSL_CTRL_GET_SESS_CACHE_MODE => c_long::from(context.mode()),
            _ => return None,
        })
    });
    answer.unwrap_or_else(|| real.call())
}

/// SSL_CTX_callback_ctrl(3): sees the callbacks whose setters are macros, and libssl keeps them. With one for ticket
/// keys the program's tickets are its own (S11).
pub(super) fn SSL_CTX_callback_ctrl(
    real: Real<'_, c_long>,
    ctx: Option<CtxRef<'_>>,
    command: c_int,
    callback: Option<AnyCallback>,
) -> c_long {
    match command {
        SSL_CTRL_SET_TLSEXT_SERVERNAME_CB => {
            if let Some(context) = taken_over(ctx).filter(|context| context.sharing().is_some()) {
                return set_servername(&context, callback);
            }
        }
        SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB if callback.is_some() => tickets::withdraw(),
        _ => {}
    }
    for_other(real, ctx)
}

/// Where sessions are shared, libssl gets a callback of ours that calls the program's.
fn set_servername(context: &Context, callback: Option<AnyCallback>) -> c_long {
    // SAFETY: the command's callback is of this type, and NULL is `None`.
    let servername: Option<ServernameCallback> = unsafe { std::mem::transmute(callback) };
    context.servername.set(servername);
    context.sharing().into_iter().for_each(|sharing| sharing.set_names(servername.is_some()));
    let installed = trampolines::servername_for(context.libssl, servername);
    // SAFETY: as above.
    let installed: Option<AnyCallback> = unsafe { std::mem::transmute(installed) };
    let set = context.libssl.real.SSL_CTX_callback_ctrl;
    let (ctx, command) = (Some(context.ctx()), SSL_CTRL_SET_TLSEXT_SERVERNAME_CB);
    // SAFETY: a live context; our callback lives as long as the process.
    set.map_or(0, |set| unsafe { set(ctx, command, installed) })
}

/// The context shares no sessions from now on, as the effect of a callback of the program's on them cannot be known.
fn stand_aside(ctx: Option<CtxRef<'_>>, why: Event) {
    if let Some(context) = taken_over(ctx) {
        context.sharing().into_iter().for_each(|sharing| sharing.stand_aside(why));
    }
}

/// SSL_CTX_set_client_hello_cb(3): the callback may change everything before a session is looked up.
pub(super) fn SSL_CTX_set_client_hello_cb(
    real: Real<'_, ()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<ClientHelloCallback>,
    _argument: *mut c_void,
) {
    if callback.is_some() {
        stand_aside(ctx, Event::AsideClientHello);
    }
    for_other(real, ctx);
}

/// SSL_CTX_set_cert_cb(3): the callback makes its choice after a session was looked up, and only if none was found.
pub(super) fn SSL_CTX_set_cert_cb(
    real: Real<'_, ()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<CertificateCallback>,
    _argument: *mut c_void,
) {
    if callback.is_some() {
        stand_aside(ctx, Event::AsideCertificate);
    }
    for_other(real, ctx);
}

/// SSL_CTX_set_tlsext_ticket_key_evp_cb(3): with a callback the program's tickets are its own (S11).
pub(super) fn SSL_CTX_set_tlsext_ticket_key_evp_cb(
    real: Real<'_, c_int>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<TicketKeyCallback>,
) -> c_int {
    if callback.is_some() {
        tickets::withdraw();
    }
    for_other(real, ctx)
}

/// SSL_CTX_set_session_ticket_cb(3): with a callback the program's tickets are its own (S11).
pub(super) fn SSL_CTX_set_session_ticket_cb(
    real: Real<'_, c_int>,
    ctx: Option<CtxRef<'_>>,
    make: Option<TicketMaker>,
    read: Option<TicketReader>,
    _argument: *mut c_void,
) -> c_int {
    if make.is_some() || read.is_some() {
        tickets::withdraw();
    }
    for_other(real, ctx)
}

/// SSL_CTX_sess_set_new_cb(3).
pub(super) fn SSL_CTX_sess_set_new_cb(
    real: Real<'_, ()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<NewCallback>,
) {
    ask(real, ctx, |context| context.set_new(callback))
}

/// SSL_CTX_sess_get_new_cb(3): the program's callback, never ours.
pub(super) fn SSL_CTX_sess_get_new_cb(
    real: Real<'_, Option<NewCallback>>,
    ctx: Option<CtxRef<'_>>,
) -> Option<NewCallback> {
    ask(real, ctx, |context| context.new.get())
}

/// SSL_CTX_sess_set_remove_cb(3). May be called at any time, also in mid-flush: each session's
/// callback is the one set when its turn comes.
pub(super) fn SSL_CTX_sess_set_remove_cb(
    real: Real<'_, ()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<RemoveCallback>,
) {
    ask(real, ctx, |context| context.set_remove(callback))
}

/// SSL_CTX_sess_get_remove_cb(3): the program's callback, never ours.
pub(super) fn SSL_CTX_sess_get_remove_cb(
    real: Real<'_, Option<RemoveCallback>>,
    ctx: Option<CtxRef<'_>>,
) -> Option<RemoveCallback> {
    ask(real, ctx, |context| context.remove.get())
}

/// SSL_CTX_sess_set_get_cb(3).
pub(super) fn SSL_CTX_sess_set_get_cb(
    real: Real<'_, ()>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<GetCallback>,
) {
    ask(real, ctx, |context| context.set_get(callback))
}

/// SSL_CTX_sess_get_get_cb(3): the program's callback, never ours.
pub(super) fn SSL_CTX_sess_get_get_cb(
    real: Real<'_, Option<GetCallback>>,
    ctx: Option<CtxRef<'_>>,
) -> Option<GetCallback> {
    ask(real, ctx, |context| context.get.get())
}

/// SSL_CTX_set_generate_session_id(3). An id that a stored session has is refused, as in stock.
pub(super) fn SSL_CTX_set_generate_session_id(
    real: Real<'_, c_int>,
    ctx: Option<CtxRef<'_>>,
    callback: Option<GenerateCallback>,
) -> c_int {
    let Some(context) = taken_over(ctx) else {
        ctx.into_iter().for_each(|ctx| lifetime::note_early_generator(ctx, callback));
        return for_other(real, ctx);
    };
    lifetime::set_generator(&context, callback)
}

/// SSL_CTX_sessions(3): a table of the sessions stored at this moment. It and its sessions stay until
/// the next call for this context after a session has come or gone, or the context's end; changing it changes
/// nothing else.
pub(super) fn SSL_CTX_sessions(real: Real<'_, *mut LHASH>, ctx: Option<CtxRef<'_>>) -> *mut LHASH {
    ask(real, ctx, |context| context.list())
}
