//! The statistics file, which the library writes and the `sslsweep` command reads.
//!
//! A file belongs to a family: the process that made it with its first context, and the processes forked from that
//! one, which have inherited the mapping. Each context of each process has a block of figures. Processes and blocks
//! are claimed by one compare-and-swap and given up by one store, so a process that is killed at any instruction
//! leaves nothing half done. Counters only rise; a word is written as a whole. A reader trusts nothing: any file may
//! be damaged or foreign.

pub mod files;
mod layout;
mod name;
pub mod processes;

pub use layout::*;
