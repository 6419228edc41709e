//! Every C symbol: validate, delegate, return. [`entries`] gives them to the linkers.
//!
//! Each function has OpenSSL's name and meaning; what its manual page says holds where nothing else is
//! said. Common to all:
//!
//! - The entry makes references of the caller's pointers, once, so that no function here is unsafe. NULL is `None`.
//! - `real` is the function of the libssl that the caller is linked with. A context that is not managed, and a call that
//!   comes from libssl while we are in it, go there.
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

use std::ffi::{CStr, c_char, c_int, c_long, c_uchar, c_uint, c_void};
use std::sync::Arc;

use crate::libssl::types::*;
use crate::libssl::{AnySession, Caller, CtxRef, Libssl, SslRef, is_inside};
use crate::takeover::{self, Managed};

/// The managed context that a call is about; `None` if the real function should have it.
fn managed(ctx: Option<CtxRef<'_>>) -> Option<Arc<Managed>> {
    if is_inside() { None } else { takeover::find(ctx?.as_ptr()) }
}

/// Calls the real function for a context that is not managed, if there is a context: libssl would crash without.
fn for_unmanaged<R: Failure>(real: impl RealFn<R>, ctx: Option<CtxRef<'_>>) -> R {
    if ctx.is_some() { real.call() } else { R::FAILURE }
}

/// The real function behind an export, with the caller's arguments. Where it is not there it fails, as does a function of
/// OpenSSL that cannot do its work.
trait RealFn<R> {
    /// Calls that of the libssl that the caller is linked with.
    fn call(self) -> R;
    /// Calls that of this libssl, which the object that the call is about belongs to.
    fn call_of(self, libssl: &'static Libssl) -> R;
    /// The libssl that the caller is linked with.
    fn libssl(&self) -> Option<&'static Libssl>;
    /// Who calls, and which function.
    fn caller(&self) -> (Caller, &'static CStr);
}

struct Real<F> {
    caller: Caller,
    name: &'static CStr,
    call: F,
}

impl<R: Failure, F: FnOnce(Option<&'static Libssl>) -> Option<R>> RealFn<R> for Real<F> {
    fn call(self) -> R {
        (self.call)(None).unwrap_or(R::FAILURE)
    }

    fn call_of(self, libssl: &'static Libssl) -> R {
        (self.call)(Some(libssl)).unwrap_or(R::FAILURE)
    }

    fn libssl(&self) -> Option<&'static Libssl> {
        self.caller.libssl(self.name)
    }

    fn caller(&self) -> (Caller, &'static CStr) {
        (self.caller, self.name)
    }
}

/// What a function returns that could not do its work.
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

impl<T> Failure for *mut T {
    const FAILURE: Self = std::ptr::null_mut();
}

impl<T> Failure for Option<T> {
    const FAILURE: Self = None;
}

/// An argument as C passes it, and as a function here takes it.
trait FromC {
    type Checked;

    /// # Safety
    ///
    /// The object that a pointer leads to stays alive while the result is used.
    unsafe fn checked(self) -> Self::Checked;
}

macro_rules! objects {
    ($($raw:ty => $checked:ty;)*) => { $(
        impl FromC for $raw {
            type Checked = Option<$checked>;

            unsafe fn checked(self) -> Self::Checked {
                // SAFETY: as promised by the caller.
                unsafe { <$checked>::new(self as *mut _) }
            }
        }
    )* };
}

objects! {
    *mut SSL_CTX => CtxRef<'static>;
    *mut SSL => SslRef<'static>;
    *const SSL => SslRef<'static>;
    *mut SSL_SESSION => AnySession<'static>;
}

macro_rules! values {
    ($($value:ty)*) => { $(
        impl FromC for $value {
            type Checked = Self;

            unsafe fn checked(self) -> Self {
                self
            }
        }
    )* };
}

values! {
    c_int c_uint c_long *mut c_void *const c_char *const c_uchar *const SSL_METHOD *mut OSSL_LIB_CTX
    Option<NewCallback> Option<RemoveCallback> Option<GetCallback> Option<GenerateCallback> Option<ExNew> Option<ExDup>
}
