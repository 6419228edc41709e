//! The share library, which the core opens beside itself if `SSLSWEEP_SHARE` is set.

use std::ffi::c_void;
use std::ptr;

/// `sslsweep_share` returns the table of the share library, or null: nothing is shared.
#[unsafe(no_mangle)]
pub extern "C" fn sslsweep_share() -> *const c_void {
    ptr::null()
}
