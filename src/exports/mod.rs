//! Every C symbol: validate, delegate, return. [`entries`] gives them to the linkers.
//!
//! Each function has OpenSSL's name and meaning; what its manual page says holds where nothing else is
//! said. Common to all:
//!
//! - Pointers of the caller arrive as references, whose objects are alive during the call, so that no function here is
//!   unsafe. NULL is `None`.
//! - `real` is the function of the libssl that the caller is linked with. A context that is not taken over, and a call that
//!   comes from libssl while we are in it, go there.
//! - NULL, where libssl would crash, fails.
//! - Only steps of our own are guarded: an exception of the program's, or the end of a thread, that comes
//!   from its callbacks passes through.
//! - No lock is held while a callback of the program runs. (libssl holds one of its own where a
//!   context ends that only the second net of `takeover::lifetime` can see.)

mod connection;
mod context;
#[cfg(target_env = "musl")]
mod elsewhere;
mod entries;
mod flush;
#[cfg(any())] // for cbindgen
mod header;
mod libcrypto;
mod load;
mod own;
mod server;
mod session;

use std::ffi::{CStr, c_int, c_long, c_ulong};
use std::sync::Arc;

use crate::libssl::types::CtxRef;
use crate::libssl::{Caller, Libssl, is_in_libssl};
use crate::takeover::context::{Context, Held};
use crate::takeover::registry;

/// The state of the context that a call is about; `None` if the real function should have it.
fn taken_over(ctx: Option<CtxRef<'_>>) -> Option<Arc<Context>> {
    if is_in_libssl() { None } else { registry::find(ctx?) }
}

/// The same for a call that mostly runs no foreign code.
fn held(ctx: Option<CtxRef<'_>>) -> Option<Held> {
    if is_in_libssl() { None } else { registry::hold(ctx?) }
}

/// Calls the real function for a context that is not taken over, if there is a context: libssl would crash without.
fn for_other<R: Failure>(real: Real<'_, R>, ctx: Option<CtxRef<'_>>) -> R {
    if ctx.is_some() { real.call() } else { R::FAILURE }
}

/// Asks the state of a context that is taken over, and the real function for any other.
fn ask<R: Failure>(
    real: Real<'_, R>,
    ctx: Option<CtxRef<'_>>,
    ours: impl FnOnce(&Arc<Context>) -> R,
) -> R {
    match taken_over(ctx) {
        Some(context) => ours(&context),
        None => for_other(real, ctx),
    }
}

/// The real function behind an export, with the caller's arguments. Where it is not there it fails, as does a function of
/// OpenSSL that cannot do its work.
struct Real<'a, R> {
    caller: Caller,
    name: &'static CStr,
    /// Calls that of this libssl, or of the one that the caller is linked with.
    function: &'a dyn Fn(Option<&'static Libssl>) -> Option<R>,
}

impl<R: Failure> Real<'_, R> {
    /// Calls that of the libssl that the caller is linked with.
    fn call(&self) -> R {
        (self.function)(None).unwrap_or(R::FAILURE)
    }

    /// Calls that of this libssl, which the object that the call is about belongs to.
    fn call_of(&self, libssl: &'static Libssl) -> R {
        (self.function)(Some(libssl)).unwrap_or(R::FAILURE)
    }

    /// The libssl that the caller is linked with.
    fn libssl(&self) -> Option<&'static Libssl> {
        self.caller.libssl(self.name)
    }
}

/// The value that a function returns which could not do its work.
trait Failure {
    const FAILURE: Self;
}

impl Failure for () {
    const FAILURE: Self = ();
}

impl Failure for c_int {
    const FAILURE: Self = 0;
}

impl Failure for c_long {
    const FAILURE: Self = 0;
}

impl Failure for c_ulong {
    const FAILURE: Self = 0;
}

impl<T> Failure for *mut T {
    const FAILURE: Self = std::ptr::null_mut();
}

impl<T> Failure for Option<T> {
    const FAILURE: Self = None;
}
