//! The locks and atomics of the cache, chosen in one place: parking_lot's and the processor's, but a model
//! checker's where `models/` compiles this folder once more, for itself.

#[cfg(not(sslsweep_model))]
pub(super) use {
    once_cell::sync::OnceCell,
    parking_lot::{Mutex, MutexGuard},
    std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(sslsweep_model)]
pub(super) use super::super::sync::*;
