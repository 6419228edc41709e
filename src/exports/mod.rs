//! Every C symbol: validate, delegate, return. [`entries`] gives them to the linker.
//!
//! Each function has OpenSSL's name and meaning; what its manual page says holds where nothing else is
//! said. Common to all:
//!
//! - `caller` is the version node that the call was bound to: which libssl the caller is linked with.
//! - A context that is not managed, and a call that comes from libssl while we are in it, reach the
//!   real function.
//! - NULL, where libssl would crash, fails.
//! - Only steps of our own are guarded: an exception of the program's, or the end of a thread, that comes
//!   from its callbacks passes through.
//! - No lock is held while a callback of the program runs. (libssl holds one of its own where a
//!   context ends that only the second net of `takeover::ending` can see.)

mod connection;
mod context;
mod entries;
mod flush;
mod libcrypto;
mod load;
mod own;
mod session;

use std::sync::Arc;

use crate::guard::guard;
use crate::libssl::types::SSL_CTX;
use crate::libssl::{Behind, Libssl, Node, is_inside, libssl, several};
use crate::takeover::{self, Managed};

/// The managed context that a call is about; `None` if the real function should have it.
fn managed(ctx: *mut SSL_CTX) -> Option<Arc<Managed>> {
    if is_inside() { None } else { guard(None, || takeover::find(ctx)) }
}

/// The libssl that a call about a context is for.
fn libssl_of(caller: Node, ctx: *mut SSL_CTX) -> Option<&'static Libssl> {
    guard(None, || {
        let managed = if several() { takeover::find(ctx) } else { None };
        managed.map(|managed| managed.libssl()).or_else(|| libssl(caller))
    })
}

/// The real function behind an export about a context, if it is there; and not for NULL, at which it
/// would crash.
fn real_for_context<F>(
    caller: Node,
    ctx: *mut SSL_CTX,
    function: impl FnOnce(&'static Behind) -> Option<F>,
) -> Option<F> {
    if ctx.is_null() { None } else { function(&libssl_of(caller, ctx)?.behind) }
}

/// The same for any other object.
fn real_for<T, F>(
    caller: Node,
    object: *const T,
    function: impl FnOnce(&'static Behind) -> Option<F>,
) -> Option<F> {
    if object.is_null() { None } else { function(&guard(None, || libssl(caller))?.behind) }
}
