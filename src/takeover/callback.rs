//! A function pointer that the program may replace at any time.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An atomic `Option<F>`, where `F` is a function pointer.
#[derive(Debug)]
pub(crate) struct Callback<F> {
    address: AtomicPtr<()>,
    function: PhantomData<F>,
}

impl<F> Default for Callback<F> {
    fn default() -> Self {
        Self { address: AtomicPtr::default(), function: PhantomData }
    }
}

impl<F: Copy> Callback<F> {
    const SAME_SIZE: () = assert!(size_of::<Option<F>>() == size_of::<*mut ()>());

    pub(crate) fn set(&self, function: Option<F>) {
        let () = Self::SAME_SIZE;
        // SAFETY: the sizes are equal, and a function pointer converts to a data pointer and back on
        // every platform that has dlsym; `None` is NULL.
        let address = unsafe { std::mem::transmute_copy::<Option<F>, *mut ()>(&function) };
        self.address.store(address, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<F> {
        let address = self.address.load(Ordering::Acquire);
        // SAFETY: only `set` stores here, so this is an `Option<F>`.
        unsafe { std::mem::transmute_copy::<*mut (), Option<F>>(&address) }
    }
}
