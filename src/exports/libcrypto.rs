//! The functions of libcrypto that are interposed. There need not be a libssl beside it.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_int, c_long, c_void};

use super::Real;
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{function, is_in_libssl};
use crate::takeover::{connections, lifetime, watch};

/// The real function, of the libcrypto that the caller is linked with; `None` if there is none.
///
/// # Safety
///
/// `F` is the type of the function that the export stands before.
unsafe fn behind<R, F: Copy>(real: &Real<'_, R>) -> Option<F> {
    let address = guard(std::ptr::null_mut(), || real.caller.libcrypto_function(real.name));
    // SAFETY: an address under this name is this function.
    unsafe { function(address) }
}

type GetExNewIndex = extern "C-unwind" fn(
    c_int,
    c_long,
    *mut c_void,
    Option<ExNew>,
    Option<ExDup>,
    Option<ExFree>,
) -> c_int;

/// CRYPTO_get_ex_new_index(3). Before the program's first index for contexts or connections comes
/// ours, so that a context's sessions are removed while the program's ex_data still stands (C15).
pub(super) fn CRYPTO_get_ex_new_index(
    real: Real<'_, c_int>,
    class: c_int,
    argl: c_long,
    argp: *mut c_void,
    new: Option<ExNew>,
    dup: Option<ExDup>,
    free: Option<ExFree>,
) -> c_int {
    let watched = || {
        let classes = [CRYPTO_EX_INDEX_SSL, CRYPTO_EX_INDEX_SSL_CTX];
        let libssl = real.libssl().filter(|_| classes.contains(&class) && !is_in_libssl())?;
        Some((libssl, libssl.api.as_ref()?))
    };
    let watched = guard(None, watched);
    if let Some((libssl, api)) = watched {
        guard((), || lifetime::watch_contexts(libssl, api));
    }
    // SAFETY: its type.
    let function: Option<GetExNewIndex> = unsafe { behind(&real) };
    let index = function.map_or(-1, |function| function(class, argl, argp, new, dup, free));
    if let Some((libssl, api)) = watched.filter(|_| class == CRYPTO_EX_INDEX_SSL) {
        // libcrypto has something to do for each connection from now on, and one function more costs little.
        guard((), || connections::watch_connections(libssl, api));
    }
    index
}

/// OSSL_LIB_CTX_free(3). A library context that is made later at the same address is another one.
pub(super) fn OSSL_LIB_CTX_free(real: Real<'_, ()>, library: *mut OSSL_LIB_CTX) {
    guard((), || {
        if let Some(libssl) = real.libssl() {
            watch::unwatch(libssl, library);
        }
    });
    // SAFETY: its type.
    let function: Option<unsafe extern "C-unwind" fn(*mut OSSL_LIB_CTX)> = unsafe { behind(&real) };
    if let Some(function) = function {
        // SAFETY: the caller's own argument.
        unsafe { function(library) };
    }
}
