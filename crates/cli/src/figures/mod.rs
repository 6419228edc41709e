//! The figures that processes publish (`sslsweep_figures`). No file is trusted. A file is copied into memory, because a
//! mapped file could be truncated while it is read, and wrong contents can only make its own numbers wrong.

mod block;
mod file;
mod process;
mod program;
mod reading;
mod sharing;
#[cfg(test)]
pub mod tests;
mod verdict;

pub use block::Block;
pub use file::ask;
pub use process::{Figures, Limit, Place};
pub use program::{Program, programs};
pub use reading::{Reading, again, lives, missing, no_process, read, read_each};
pub use sharing::Sharing;
#[cfg(test)]
pub use sharing::tests::sharing;
pub use verdict::Verdict;
