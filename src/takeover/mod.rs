//! The takeover: what a context is, and how libssl is made to use our cache for it.
//!
//! libssl has one public way to keep sessions elsewhere: `SSL_SESS_CACHE_NO_INTERNAL` with the new,
//! get and remove callbacks. Each context gets our own three callbacks ([`trampolines`]) and its real
//! internal cache is turned off; what the program believes it set is kept in [`context::Context`], and the
//! internal cache is ours.
//!
//! Each module uses those below it:
//!
//! | module | what |
//! |---|---|
//! | [`trampolines`] | what libssl calls |
//! | [`exchange`] | sessions that connections get from other processes, and give them |
//! | [`servers`] | which connections get stateful tickets |
//! | [`connections`] | which context's cache an `SSL` uses, and its own session id generator |
//! | [`sessions`] | what concerns a session wherever it is stored |
//! | [`lifetime`] | how a context begins and ends |
//! | [`summary`] | what is said of all contexts at exit |
//! | [`registry`] | which contexts there are |
//! | [`context`] | one context, which knows no other |
//! | [`tickets`] | whether tickets are to be stateful |
//! | [`counts`] | in how many caches a session is stored |
//! | [`watch`] | hearing of the end of contexts and connections |
//! | [`shared`] | contexts that processes share, which are left to libssl |

pub(crate) mod connections;
pub(crate) mod context;
mod counts;
mod exchange;
pub(crate) mod lifetime;
pub(crate) mod registry;
pub(crate) mod servers;
pub(crate) mod sessions;
mod shared;
pub(crate) mod summary;
pub(crate) mod tickets;
pub(crate) mod trampolines;
pub(crate) mod watch;
