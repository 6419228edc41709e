//! The work when the library is loaded: the libssl that is there is looked at, while nobody can wait for the loader yet.

use crate::guard::guard;
use crate::takeover::summary;
use crate::{libssl, options, report, sharing, sync};

// Not under Miri, where no libssl can be.
#[used]
#[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
static LOADED: extern "C" fn() = loaded;

extern "C" fn loaded() {
    guard((), || {
        report::remember();
        libssl::stay_loaded();
        // A page for it, before the program forbids itself to ask for one.
        sync::generation();
        let first = libssl::begin();
        sharing::open();
        if !options::get().verbose {
            return;
        }
        report::line(format_args!("version {}", env!("CARGO_PKG_VERSION")));
        if let Some(first) = first {
            let first = first.to_string_lossy();
            report::line(format_args!(
                "has no effect: {first} was loaded first; link or preload sslsweep before it"
            ));
        }
        // SAFETY: the handler lives as long as this object, with which it is registered.
        unsafe { libc::atexit(unloaded) };
    });
}

extern "C" fn unloaded() {
    guard((), summary::at_exit);
}
