//! The protocol of the slots: how processes put, get, take and forget records without a lock and without a wait.
//!
//! A slot's first word holds its state and a generation:
//!
//! | from | to | by |
//! |---|---|---|
//! | empty; live or dead, and expired; live, to be evicted or replaced | busy | a claim |
//! | busy | live | a put, which has written a record |
//! | live | dead | a take or a forget |
//! | busy | dead | a forget that found no record to kill |
//!
//! Each change is one compare-and-swap. A claim begins a new generation, so a word never has the same value twice, and
//! a process that has read a slot sees by this one word whether it has changed since. Only the process that claimed a slot
//! writes the other words. A record that has expired counts as empty, and so does one whose put is older than the bucket's
//! mark: a forget that finds no slot sets the mark.
//!
//! - **A busy slot is never reclaimed.** A process that is killed in a put costs one slot. A time limit would let a
//!   stopped process wake up and write into somebody else's record.
//! - **Dead wins.** A lookup searches all ways of the bucket, and a dead slot of the name hides every record of that
//!   name, also one whose put began earlier and ends later. For the same reason nobody wipes a dead slot: a process that
//!   was stopped while wiping would go on in the next record.
//! - **In doubt a miss.** A name whose slot changes during a lookup is not found.
//! - **A removal elsewhere costs no slot.** A kill that finds no record leaves its time alone, for the whole bucket. Whoever
//!   has a session from elsewhere that is older, and finds no record, takes it for removed.
//!
//! The contents may be hostile: every loop is bounded by the number of ways, and every length is clamped.

mod bucket;
mod dirty;
mod record;
mod slot;
mod sync;

pub use bucket::{BUCKET_WORDS, Bucket, Fetched, Forgotten, Put, WAYS};
pub use dirty::{Dirty, GROUP_WORDS, Passes};
pub use record::{Change, Name, ROOM, Record, Refused};
pub use slot::{SLOT_WORDS, State};
