//! What the cache asks of `src/cache/sync.rs`, made of a model checker's primitives.

use std::ops::{Deref, DerefMut};

pub(super) use super::checker::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering,
};

/// The product's, as far as the cache uses it: without poison, and without forks.
#[derive(Debug)]
pub(super) struct Mutex<T>(super::checker::sync::Mutex<T>);

pub(super) struct MutexGuard<'a, T>(super::checker::sync::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(super::checker::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().expect("a thread has panicked with this lock"))
    }

    pub(super) fn lock_or_mend(&self, _mend: impl FnOnce(&mut T)) -> MutexGuard<'_, T> {
        self.lock()
    }

    pub(super) fn lock_unless_dead(&self) -> Option<MutexGuard<'_, T>> {
        Some(self.lock())
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok().map(MutexGuard)
    }
}

impl<T> MutexGuard<'_, T> {
    /// Whoever waits may come first anyway: the checker tries both.
    pub(super) fn unlock_fair(guard: Self) {
        drop(guard);
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// once_cell's. The value itself lies in a real one; who may see it, and who makes it, is the checker's to
/// decide.
#[derive(Debug)]
pub(super) struct OnceBox<T> {
    value: once_cell::race::OnceBox<T>,
    made: AtomicBool,
    making: Mutex<()>,
}

impl<T> OnceBox<T> {
    pub(super) fn new() -> Self {
        Self {
            value: once_cell::race::OnceBox::new(),
            made: AtomicBool::new(false),
            making: Mutex::new(()),
        }
    }

    pub(super) fn get(&self) -> Option<&T> {
        if self.made.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(super) fn get_or_try_init<E>(
        &self,
        make: impl FnOnce() -> Result<Box<T>, E>,
    ) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let _making = self.making.lock();
        let value = self.value.get_or_try_init(make)?;
        self.made.store(true, Ordering::Release);
        Ok(value)
    }
}
