//! One context that is taken over. It knows no other, and not where it is kept.
//!
//! Each module uses those below it:
//!
//! | module | what |
//! |---|---|
//! | [`operator`] | requests of the operator that the context obeys |
//! | [`flush`] | removing what is due, in bounded batches, with no lock held during callbacks |
//! | [`stand_ins`] | stand-ins that lie for a moment in libssl's internal cache, for its own checks |
//! | [`stored`] | how sessions enter, are found, and leave one by one |
//! | [`removal`] | sessions that leave: marked, called back for, dropped |
//! | [`running`] | which callbacks of the program run on this thread |
//! | [`real`] | libssl's context behind it: every call to that, and what is set on it past us |
//! | [`view`] | what the program believes it set, and may ask |
//! | [`held`] | the context during a call |
//! | [`state`] | the context itself |
//! | [`events`] | what happened, for figures and probes |
//! | [`leaving`], [`planted`], [`sentinel`], [`listing`], [`callback`] | parts of its state, which do not know it |

mod callback;
mod events;
mod flush;
mod held;
mod leaving;
mod listing;
mod operator;
mod planted;
mod real;
mod removal;
mod running;
mod sentinel;
mod stand_ins;
mod state;
mod stored;
mod view;

pub(super) use callback::Callback;
pub(crate) use flush::Budget;
pub(crate) use held::Held;
pub(crate) use listing::snapshot;
pub(super) use running::{Call, count};
pub(crate) use state::Context;
pub(super) use state::Trampolines;
