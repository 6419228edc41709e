//! Callers that are not ours, which reach us all the same: musl's loader knows no version nodes, so a library with functions of
//! libssl's names (BoringSSL, LibreSSL, an OpenSSL inside of something else) is bound to ours (contract P9). The entries ask where such
//! a call goes on, and jump there, as prototypes differ. Where a libssl of OpenSSL's is there at the
//! start, the loader would have bound all callers to that, so nobody is asked about.

use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::guard::guard;
use crate::libssl::Caller;

/// Whether the entries ask.
pub(super) static ASKS: AtomicBool = AtomicBool::new(true);

/// Where a call of the function `name` goes on; NULL if it is ours.
pub(super) unsafe extern "C" fn elsewhere(name: *const c_char, returns_to: usize) -> *mut c_void {
    // SAFETY: the entry's own string.
    let name: &'static CStr = unsafe { CStr::from_ptr(name) };
    guard(std::ptr::null_mut(), || {
        if Caller::all_have_openssl() {
            ASKS.store(false, Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        Caller::without_node(returns_to).elsewhere(name)
    })
}
