//! Every C symbol: validate, delegate, return.
//!
//! Each function has OpenSSL's name and meaning; what its manual page says holds where nothing else is
//! said. Common to all:
//!
//! - A context that is not managed, and a call that comes from libssl while we are in it, reach the
//!   real function.
//! - NULL, where libssl would crash, fails.
//! - No lock is held while a callback of the program runs. (libssl holds one of its own where a
//!   context ends that only the second net of `takeover::ending` can see.)

mod connection;
mod context;
mod flush;
mod libcrypto;
mod load;
mod own;
mod session;

use std::sync::Arc;

use crate::libssl::types::SSL_CTX;
use crate::libssl::{Behind, is_inside, libssl};
use crate::takeover::{self, Managed};

/// The managed context that a call is about; `None` if the real function should have it.
fn managed(ctx: *mut SSL_CTX) -> Option<Arc<Managed>> {
    if is_inside() { None } else { takeover::find(ctx) }
}

/// The real function behind an export, if it is there; and not for a NULL object, at which it would
/// crash.
fn real_for<T, F>(
    object: *const T,
    function: impl FnOnce(&'static Behind) -> Option<F>,
) -> Option<F> {
    if object.is_null() { None } else { real(function) }
}

/// The real function behind an export, if it is there.
fn real<F>(function: impl FnOnce(&'static Behind) -> Option<F>) -> Option<F> {
    function(&libssl()?.behind)
}
