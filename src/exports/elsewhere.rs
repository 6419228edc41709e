//! Calls that are meant for another library. musl's loader knows no version nodes, so it binds the callers of any library with
//! libssl's names (BoringSSL, LibreSSL, an OpenSSL inside of something else) to ours (contract P9). The entry of such a call
//! jumps to that library's function, because prototypes differ. Where a libssl of OpenSSL's is loaded at the start, the
//! loader would have bound every caller to that, so all calls are ours.

use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::guard::guard;
use crate::libssl::Caller;

/// Each entry calls [`elsewhere`] while this is set.
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
