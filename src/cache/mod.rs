//! The session cache: what a server stores, found by key and kept in order of expiry.
//!
//! Pure safe Rust, generic over the stored session, and free of any knowledge of OpenSSL. It has no
//! clock either: every time comes in as an argument, so that a test decides what time it is.
//!
//! # How it is built
//!
//! ```text
//!             order (one lock)                      shards (a lock each)
//!   deadlines: heap + table -> bucket        index: key -> slot
//!   bucket:    first .. last of one second   slot:  key, session
//!   links:     next, previous, bucket  <-- the same place (shard, slot) -->
//! ```
//!
//! Each change of the stored sessions takes the order's lock, and inside it one shard's lock at a time.
//! A lookup takes one shard's lock only, so lookups neither meet each other nor wait for a flush.
//! That order is total and counted under one lock makes capacity, eviction and flush exact, also
//! among threads; sharding the order as well was rejected, because it would need a merge of all shards
//! to remove the earliest session first, for locks that are held some hundred nanoseconds.
//!
//! No session is dropped, and nothing foreign is called, under a lock: what leaves is handed to the
//! caller. (`Clone` of a session does run under a shard's lock: it must only count a reference.)
mod count;
mod expiry;
mod index;
mod key;
mod links;
mod lookup;
mod order;
mod place;
mod removal;
mod shard;
mod slots;
mod store;
mod sync;
mod types;
mod whole;

// Counts at sizes that Miri would not come to the end of.
#[cfg(all(test, not(miri)))]
mod complexity;
#[cfg(any(test, fuzzing))]
pub mod oracle;
#[cfg(all(test, not(miri)))]
mod security;
#[cfg(test)]
mod tests;

pub use expiry::{Cutoff, Expiry};
pub use key::{Key, KeyMaker};
pub use removal::BATCH;
pub use types::{Eviction, Handle, Observer, Statistics, Stored};
pub use whole::Cache;
