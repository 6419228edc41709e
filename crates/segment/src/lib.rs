//! Memory that processes share: opaque records under 128-bit names, each until it expires.
//!
//! The crate knows nothing of TLS, keys or OpenSSL, and has no clock: callers pass the time in seconds. Records are the
//! caller's to seal. A reader trusts nothing that it finds, so hostile or torn contents lead to a miss.
//!
//! [`Segment`] is the memory, which a family of processes inherits or finds by a path. The module `slots` describes how
//! they use it without a lock. After its creation no operation makes a system call, waits, or allocates.

mod error;
mod figures;
mod file;
mod header;
mod mapping;
mod segment;
mod slots;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use figures::{Census, Counts};
pub use segment::Segment;
pub use slots::{Name, Put, ROOM, Record, Refused};
