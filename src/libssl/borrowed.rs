//! Objects of OpenSSL that somebody else keeps alive.

use std::marker::PhantomData;
use std::ptr::NonNull;

/// An object of OpenSSL that is alive for a lifetime: that of a call, as for any function of OpenSSL that gets it. C passes
/// one as a pointer, and NULL as `None`.
#[repr(transparent)]
pub(crate) struct Borrowed<'a, T>(NonNull<T>, PhantomData<&'a T>);

impl<T> Clone for Borrowed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Borrowed<'_, T> {}

impl<T> std::fmt::Debug for Borrowed<'_, T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<T> PartialEq for Borrowed<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Borrowed<'_, T> {}

impl<T> Borrowed<'_, T> {
    /// `None` for NULL.
    ///
    /// # Safety
    ///
    /// An object that is not NULL must stay alive for the lifetime.
    pub(crate) unsafe fn new(object: *mut T) -> Option<Self> {
        NonNull::new(object).map(|object| Self(object, PhantomData))
    }

    /// # Safety
    ///
    /// The object must stay alive for the lifetime.
    pub(crate) unsafe fn alive(object: NonNull<T>) -> Self {
        Self(object, PhantomData)
    }

    pub(crate) fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }

    pub(crate) fn as_non_null(self) -> NonNull<T> {
        self.0
    }

    pub(crate) fn address(self) -> usize {
        self.0.addr().get()
    }
}
