//! The session cache of sslsweep, compiled from the product's own source with a model checker's locks and
//! atomics in place of the real ones: once with loom's, once with shuttle's. The slots of the segment are compiled once, with
//! loom's atomics. The models are in `tests/`.

#![forbid(unsafe_code)]
#![allow(
    clippy::duplicate_mod,
    reason = "each checker has locks of its own: all is compiled twice"
)]

pub mod exhaustive;
pub mod random;
