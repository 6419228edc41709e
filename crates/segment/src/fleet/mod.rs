//! What the processes and the agent tell each other: questions, answers, and whether it is worth while to wait for one.
//!
//! - **A question is lost, never mixed up.** It is a name in a cell that the name chooses. Two at once in one cell spoil each
//!   other, which costs a miss.
//! - **An answer says: look again.** Nobody believes more of it, so that one that is late, early or another's costs a miss.
//! - **Nobody waits long for nothing.** After three missed deadlines in a row one process a second tries whether there is an
//!   answer, until there is.
//!
//! The contents may be hostile: a wait ends at its deadline whatever the words say.

mod bell;
mod breaker;
mod cells;
mod sync;

pub use bell::{Bell, Futex, Woken};
pub use breaker::Breaker;
pub use cells::{CELL_WORDS, CELLS, Cells, Question};
