//! Memory that processes share: opaque records under 128-bit names, each until it expires.
//!
//! The crate knows nothing of TLS, keys or OpenSSL, and has no clock: callers pass the time in seconds. Records are the
//! caller's to seal. A reader trusts nothing that it finds, so hostile or torn contents lead to a miss.
//!
//! [`Segment`] is the memory, which a family of processes inherits or finds by a path. The module `slots` describes
//! how they use it without a lock. After its creation no operation makes a system call, waits, or allocates, with one
//! exception: [`Segment::wait`].
//!
//! [`Agent`] is the other side of a segment with a path: a process that carries records to other machines and from
//! them. The module `fleet` describes how it is asked, `slots` how it learns of changes.

mod agent;
mod error;
mod figures;
mod file;
mod fleet;
mod futex;
mod header;
mod mapping;
mod segment;
mod slots;

#[cfg(test)]
mod tests;

pub use agent::{Agent, Asked, Cell, Changes};
pub use error::Error;
pub use figures::{AgentState, Census, Counts, Position, Tally};
pub use fleet::Question;
pub use futex::Moment;
pub use segment::{Answer, Segment};
pub use slots::{Change, Fetched, Name, Put, ROOM, Record, Refused};
