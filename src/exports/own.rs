//! sslsweep's own functions.

use std::ffi::{CStr, c_char};

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// sslsweep_version() returns the version of sslsweep in this process, such as "0.1.0".
///
/// The string is static. A program that may run without sslsweep can look the function up by
/// dlsym(RTLD_DEFAULT, "sslsweep_version") to see whether it is there. No locks, no callbacks.
#[unsafe(no_mangle)]
pub extern "C" fn sslsweep_version() -> *const c_char {
    VERSION.as_ptr()
}
