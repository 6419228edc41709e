//! The real libssl: finding it, its functions and types, and an owning reference to its sessions.

mod borrowed;
mod caller;
mod elf;
mod find;
mod inside;
mod mapped;
mod node;
mod object;
mod prefetch;
mod session;
mod symbols;
pub(crate) mod types;

/// A function for each libssl, by its index: for what libssl calls without telling which one it is.
macro_rules! of_each_libssl {
    ($function:ident) => {
        [
            $function::<0>,
            $function::<1>,
            $function::<2>,
            $function::<3>,
            $function::<4>,
            $function::<5>,
            $function::<6>,
            $function::<7>,
        ]
    };
}

pub(crate) use caller::Caller;
pub(crate) use find::{
    Libssl, MAX_LIBSSL, by_index, libssl_of_method, open_beside_us, stay_loaded,
};
pub(crate) use inside::{call_libssl, call_program, is_in_libssl};
pub(crate) use node::Node;
pub(crate) use of_each_libssl;
pub(crate) use session::{Session, SessionRef};
pub(crate) use symbols::{Api, function};

/// Resolves what there is at the start, and tells what comes before us for callers of a libssl that is there, if anything
/// does.
pub(crate) fn begin() -> Option<&'static std::ffi::CStr> {
    find::start().comes_first()
}
