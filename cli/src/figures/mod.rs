//! The figures that processes publish (`sslsweep_figures`). Nothing in a file is trusted: it is read into memory,
//! since a mapped file could be cut short under our hands, and whatever it holds can only make its own numbers wrong.

mod block;
mod file;
mod process;
mod program;
mod reading;
#[cfg(test)]
pub mod tests;
mod verdict;

pub use block::Block;
pub use file::ask;
pub use process::{Figures, Limit, Place};
pub use program::{Program, programs};
pub use reading::{Reading, again, lives, missing, no_process, read, read_each};
pub use verdict::Verdict;
