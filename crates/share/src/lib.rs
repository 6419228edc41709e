//! The share library: sessions that contexts and processes of a machine share. The core opens it if `SSLSWEEP_SHARE` is set.
//!
//! | module | what |
//! |---|---|
//! | [`boundary`] | the functions that the core calls |
//! | [`context`] | one context: publishing, fetching, removing |
//! | [`trust`] | what two connections must have in common |
//! | [`seen`], [`flushed`] | what a context remembers |
//! | [`contents`], [`key`] | what a record holds, and is found by |
//! | [`shared`] | the segment, keys and options of the process |
//! | [`openssl`] | OpenSSL's functions |
//! | [`memory`] | allocations that may fail |
//!
//! No function waits or, but for the making of a context, makes a system call; with the exception of a fetch, if the operator has
//! set `SSLSWEEP_SHARE_WAIT`. A lock is only ever tried: where a fork has left it
//! locked, and where another thread has it at this moment, the answer is the safe one.

mod boundary;
mod contents;
mod context;
mod flushed;
mod key;
mod memory;
mod openssl;
mod options;
mod seen;
mod shared;
mod trust;
