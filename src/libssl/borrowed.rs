//! Pointers that C hands to an export, checked once, at the entry.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::types::*;

/// An object of OpenSSL that is alive during a call: whoever makes one promises that (as a caller of any function of
/// OpenSSL does), and nobody after that has to.
#[derive(Debug)]
pub(crate) struct Borrowed<'a, T>(NonNull<T>, PhantomData<&'a T>);

impl<T> Clone for Borrowed<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Borrowed<'_, T> {}

/// A context.
pub(crate) type CtxRef<'a> = Borrowed<'a, SSL_CTX>;
/// A connection.
pub(crate) type SslRef<'a> = Borrowed<'a, SSL>;
/// A session, of a libssl that is still to be found out.
pub(crate) type AnySession<'a> = Borrowed<'a, SSL_SESSION>;

impl<T> Borrowed<'_, T> {
    /// `None` for NULL.
    ///
    /// # Safety
    ///
    /// An object that is not NULL must stay alive for the lifetime.
    pub(crate) unsafe fn new(object: *mut T) -> Option<Self> {
        NonNull::new(object).map(|object| Self(object, PhantomData))
    }

    pub(crate) fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}
