//! A function pointer that the program may replace at any time.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

/// An atomic `Option<F>`, where `F` is a function pointer.
#[derive(Debug)]
pub(crate) struct Callback<F> {
    address: AtomicPtr<()>,
    /// The one that the present one has replaced past us, and may call: it found ours in that place.
    replaced: AtomicPtr<()>,
    function: PhantomData<F>,
}

impl<F> Default for Callback<F> {
    fn default() -> Self {
        Self {
            address: AtomicPtr::default(),
            replaced: AtomicPtr::default(),
            function: PhantomData,
        }
    }
}

impl<F: Copy> Callback<F> {
    const SAME_SIZE: () = assert!(size_of::<Option<F>>() == size_of::<*mut ()>());

    pub(crate) fn set(&self, function: Option<F>) {
        self.replaced.store(std::ptr::null_mut(), Ordering::Release);
        self.address.store(to_address(function), Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<F> {
        self.load(&self.address)
    }

    /// Takes in one that was set past us.
    pub(crate) fn replace(&self, function: Option<F>) {
        let former = self.address.swap(to_address(function), Ordering::AcqRel);
        // Two threads may take the same one in.
        if former != to_address(function) {
            self.replaced.store(former, Ordering::Release);
        }
    }

    /// The one that the present one has replaced past us.
    pub(crate) fn replaced(&self) -> Option<F> {
        self.load(&self.replaced)
    }

    fn load(&self, place: &AtomicPtr<()>) -> Option<F> {
        let () = Self::SAME_SIZE;
        let address = place.load(Ordering::Acquire);
        // SAFETY: only `set` and `replace` store here, so this is an `Option<F>`.
        unsafe { std::mem::transmute_copy::<*mut (), Option<F>>(&address) }
    }
}

/// Returns whether two are the same function, or none.
pub(super) fn is_same<F: Copy>(one: Option<F>, other: Option<F>) -> bool {
    to_address(one) == to_address(other)
}

fn to_address<F: Copy>(function: Option<F>) -> *mut () {
    let () = Callback::<F>::SAME_SIZE;
    // SAFETY: the sizes are equal, and a function pointer converts to a data pointer and back on
    // every platform that has dlsym; `None` is NULL.
    unsafe { std::mem::transmute_copy::<Option<F>, *mut ()>(&function) }
}
