//! The atomics: the processor's, but loom's where `checks/models/` compiles this folder for itself.

#[cfg(sslsweep_model)]
pub(super) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(sslsweep_model))]
pub(super) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU64, Ordering, fence},
};
