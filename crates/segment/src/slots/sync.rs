//! The atomics of the slots: the processor's, but loom's where `checks/models/` compiles this folder for itself.

#[cfg(sslsweep_model)]
pub(super) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(sslsweep_model))]
pub(super) use std::sync::atomic::{AtomicU64, Ordering, fence};
