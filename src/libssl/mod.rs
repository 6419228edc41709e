//! The real libssl: finding it, its functions and types, and an owning reference to its sessions.

mod caller;
mod find;
mod inside;
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

pub(crate) use find::{
    Libssl, MOST, by_index, libcrypto_function, libssl, libssl_of_method, several,
};
pub(crate) use inside::{inside, is_inside, program};
pub(crate) use node::Node;
pub(crate) use object::{object_of, stay_loaded};
pub(crate) use of_each_libssl;
pub(crate) use session::{Session, SessionRef};
pub(crate) use symbols::{Api, Behind};
