//! What happens when the library is loaded: nothing, unless the operator wants to hear of it.

use std::ffi::CString;

use crate::guard::guard;
use crate::libssl::object_of;
use crate::takeover::summary;
use crate::{options, report};

// Not under Miri, where no libssl can be.
#[used]
#[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
static LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    guard((), || {
        report::remember();
        if !options::get().verbose {
            return;
        }
        report::line(format_args!("version {}", env!("CARGO_PKG_VERSION")));
        // SAFETY: the name is a string.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"SSL_CTX_new".as_ptr()) };
        let first = object_of(address);
        if first != object_of(loaded as *mut _) {
            let first = first.as_deref().map_or(c"?".into(), CString::from);
            let first = first.to_string_lossy();
            report::line(format_args!(
                "is without effect: {first} comes first; link or preload before it"
            ));
        }
        // SAFETY: the handler lives as long as this object, with which it is registered.
        unsafe { libc::atexit(unloaded) };
    });
}

extern "C" fn unloaded() {
    guard((), summary::at_exit);
}
