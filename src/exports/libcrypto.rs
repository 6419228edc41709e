//! The functions of libcrypto that are interposed. There need not be a libssl beside it.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{CStr, c_int, c_long, c_void};

use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Node, is_inside, libcrypto_function, libssl};
use crate::takeover::ending;

type GetExNewIndex = unsafe extern "C-unwind" fn(
    c_int,
    c_long,
    *mut c_void,
    Option<ExNew>,
    Option<ExDup>,
    Option<ExFree>,
) -> c_int;

fn real(caller: Node, name: &CStr) -> *mut c_void {
    guard(std::ptr::null_mut(), || libcrypto_function(caller, name))
}

/// CRYPTO_get_ex_new_index(3). Before the program's first index for contexts or connections comes
/// ours, so that a context's sessions are removed while the program's ex_data still stands (C15).
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn CRYPTO_get_ex_new_index(
    caller: Node,
    class: c_int,
    argl: c_long,
    argp: *mut c_void,
    new: Option<ExNew>,
    dup: Option<ExDup>,
    free: Option<ExFree>,
) -> c_int {
    guard((), || {
        if matches!(class, CRYPTO_EX_INDEX_SSL | CRYPTO_EX_INDEX_SSL_CTX) && !is_inside() {
            if let Some((libssl, api)) = libssl(caller).and_then(|l| Some((l, l.api.as_ref()?))) {
                ending::watch(libssl, api);
            }
        }
    });
    let address = real(caller, c"CRYPTO_get_ex_new_index");
    // SAFETY: an address under this name is this function, and NULL is `None`.
    let real: Option<GetExNewIndex> = unsafe { std::mem::transmute(address) };
    // SAFETY: the caller's own arguments.
    real.map_or(-1, |real| unsafe { real(class, argl, argp, new, dup, free) })
}

/// OSSL_LIB_CTX_free(3). A library context that is made later at the same address is another one.
///
/// # Safety
///
/// As for the real function.
pub(super) unsafe fn OSSL_LIB_CTX_free(caller: Node, library: *mut OSSL_LIB_CTX) {
    guard((), || {
        if let Some(libssl) = libssl(caller) {
            ending::unwatch(libssl, library);
        }
    });
    let address = real(caller, c"OSSL_LIB_CTX_free");
    // SAFETY: an address under this name is this function, and NULL is `None`.
    let real: Option<unsafe extern "C-unwind" fn(*mut OSSL_LIB_CTX)> =
        unsafe { std::mem::transmute(address) };
    if let Some(real) = real {
        // SAFETY: the caller's own argument.
        unsafe { real(library) };
    }
}
