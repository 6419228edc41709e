//! What a child that was forked in the middle of something has to know.

mod generation;

pub(crate) use generation::generation;
