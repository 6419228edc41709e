//! Locks and tables that threads share, made so that it also serves a child that was forked in the middle of it.
//!
//! A child of `fork` has one thread. Whatever another thread of the parent was doing at that moment, nobody in the
//! child will finish. Handlers of `pthread_atfork` can't help: those of the program may run before ours and call
//! us, and `_Fork` runs none. So each lock knows which process image its holder belongs to ([`generation`]), and a
//! thread that would have to wait for a holder that does not exist here takes the lock over ([`Mutex`]).
//!
//! The thread that forks holds none of these locks: no foreign code runs under them.

mod addresses;
mod alone;
mod generation;
mod mutex;

pub(crate) use addresses::Addresses;
pub(crate) use alone::is_alone;
pub(crate) use generation::generation;
#[cfg(test)]
pub(crate) use generation::in_child;
pub(crate) use mutex::{Mutex, MutexGuard};
