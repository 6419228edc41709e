//! The locks and atomics of the cache, chosen in one place: those of [`crate::sync`] and the processor's, but a model
//! checker's where `checks/models/` compiles this folder once more, for itself.

#[cfg(not(sslsweep_model))]
pub(super) use {
    crate::sync::{Mutex, MutexGuard},
    once_cell::race::OnceBox,
    std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(sslsweep_model)]
pub(super) use super::super::sync::*;
