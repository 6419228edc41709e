//! The takeover: what a managed `SSL_CTX` is, and how libssl is made to use our cache for it.
//!
//! libssl has one public way to keep sessions elsewhere: `SSL_SESS_CACHE_NO_INTERNAL` with the new,
//! get and remove callbacks. Each context gets our own three callbacks ([`trampolines`]) and its real
//! internal cache is turned off; what the program believes it set is kept in [`Managed`], and the
//! internal cache is ours.
//!
//! | module | what |
//! |---|---|
//! | [`registry`] | which contexts are managed |
//! | [`managed`] | one managed context: its cache, how sessions enter and are found, its end |
//! | [`view`] | what the program believes it set, and may ask |
//! | [`removal`] | how sessions leave: marked, called back for, dropped |
//! | [`flush`] | removing what is due, in bounded batches, with no lock held during callbacks |
//! | [`measured`] | what flushes took |
//! | [`trampolines`] | what libssl calls |
//! | [`connections`] | which context's cache an `SSL` uses, and its own session id generator |
//! | [`planted`] | stand-ins that lie for a moment in libssl's internal cache, for its own checks |
//! | [`leaving`] | detached sessions whose remove callback has still to run |
//! | [`ending`] | noticing that a context is being freed |
//! | [`stored`] | in how many caches a session is stored |
//! | [`operator`] | the figures that a context publishes, and the operator's requests that it obeys |
//! | [`running`] | which callbacks of the program run on this thread |
//! | [`past`] | what is set on a managed context past us |
//! | [`shared`] | contexts that processes share, which are left to libssl |
//! | [`moved`] | sessions whose time, timeout, version or id is set while they are stored |
//! | [`probes`] | what tracers can see |
//! | [`listing`] | the table that `SSL_CTX_sessions` returns |

pub(crate) mod callback;
pub(crate) mod connections;
pub(crate) mod ending;
pub(crate) mod flush;
mod leaving;
pub(crate) mod listing;
pub(crate) mod managed;
pub(crate) mod measured;
pub(crate) mod moved;
mod operator;
mod past;
mod planted;
mod probes;
pub(crate) mod registry;
mod removal;
mod running;
mod shared;
mod stored;
pub(crate) mod summary;
pub(crate) mod trampolines;
mod view;

pub(crate) use managed::Managed;
pub(crate) use past::take_in;
pub(crate) use registry::{find, make};
