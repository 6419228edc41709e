//! The functions of libcrypto that are interposed. There need not be a libssl beside it.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_int, c_long, c_void};

use super::RealFn;
use crate::guard::guard;
use crate::libssl::is_inside;
use crate::libssl::types::*;
use crate::takeover::ending;

/// The address of the real function, by the libcrypto that the caller is linked with; NULL if there is none.
fn behind<R>(real: &impl RealFn<R>) -> *mut c_void {
    let (caller, name) = real.caller();
    guard(std::ptr::null_mut(), || caller.libcrypto_function(name))
}

/// CRYPTO_get_ex_new_index(3). Before the program's first index for contexts or connections comes
/// ours, so that a context's sessions are removed while the program's ex_data still stands (C15).
pub(super) fn CRYPTO_get_ex_new_index(
    real: impl RealFn<c_int>,
    class: c_int,
    argl: c_long,
    argp: *mut c_void,
    new: Option<ExNew>,
    dup: Option<ExDup>,
    free: Option<ExFree>,
) -> c_int {
    let watched = || {
        let classes = [CRYPTO_EX_INDEX_SSL, CRYPTO_EX_INDEX_SSL_CTX];
        let libssl = real.libssl().filter(|_| classes.contains(&class) && !is_inside())?;
        Some((libssl, libssl.api.as_ref()?))
    };
    let watched = guard(None, watched);
    if let Some((libssl, api)) = watched {
        guard((), || ending::watch(libssl, api));
    }
    type GetExNewIndex = unsafe extern "C-unwind" fn(
        c_int,
        c_long,
        *mut c_void,
        Option<ExNew>,
        Option<ExDup>,
        Option<ExFree>,
    ) -> c_int;
    let address = behind(&real);
    // SAFETY: an address under this name is this function, and NULL is `None`.
    let function: Option<GetExNewIndex> = unsafe { std::mem::transmute(address) };
    // SAFETY: the caller's own arguments.
    let index =
        function.map_or(-1, |function| unsafe { function(class, argl, argp, new, dup, free) });
    if let Some((libssl, api)) = watched.filter(|_| class == CRYPTO_EX_INDEX_SSL) {
        // libcrypto has something to do for each connection from now on, and one function more costs little.
        guard((), || ending::watch_connections(libssl, api));
    }
    index
}

/// OSSL_LIB_CTX_free(3). A library context that is made later at the same address is another one.
pub(super) fn OSSL_LIB_CTX_free(real: impl RealFn<()>, library: *mut OSSL_LIB_CTX) {
    guard((), || {
        if let Some(libssl) = real.libssl() {
            ending::unwatch(libssl, library);
        }
    });
    let address = behind(&real);
    // SAFETY: an address under this name is this function, and NULL is `None`.
    let function: Option<unsafe extern "C-unwind" fn(*mut OSSL_LIB_CTX)> =
        unsafe { std::mem::transmute(address) };
    if let Some(function) = function {
        // SAFETY: the caller's own argument.
        unsafe { function(library) };
    }
}
