//! The real libssl: finding it, its functions and types, and an owning reference to its sessions.

mod find;
mod inside;
mod session;
mod symbols;
pub(crate) mod types;

pub(crate) use find::{Libssl, api, libcrypto_function, libssl, object_of};
pub(crate) use inside::{inside, is_inside, program};
pub(crate) use session::{Session, SessionRef};
pub(crate) use symbols::{Api, Behind};
