//! The certificate of a context, as it was when its last connection was made.
//!
//! A handshake does not look at it: libssl itself copies a context's certificates when a connection is made, so a program may replace
//! them while handshakes run, if it keeps that apart from `SSL_new` alone.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::api::Api;
use super::{Certificates, Ctx, Digest};

/// More are not noted: the last one stays. (The outcome of a handshake has the certificates of its own connection.)
const MOST: usize = 64;

/// A certificate that the context has, or had. With a reference on it, so that no address is taken for that of another one.
#[derive(Debug)]
struct Noted {
    certificate: usize,
    digest: Digest,
    /// Kept to the end: another thread may be reading it.
    former: *mut Noted,
    number: usize,
}

/// The certificate that was noted last.
#[derive(Debug)]
pub(crate) struct Latest {
    api: &'static Api,
    noted: AtomicPtr<Noted>,
}

impl Latest {
    pub(crate) fn new(api: &'static Api) -> Self {
        Self { api, noted: AtomicPtr::new(ptr::null_mut()) }
    }

    fn noted(&self) -> Option<&Noted> {
        // SAFETY: from `Box::into_raw`, and freed with this.
        unsafe { self.noted.load(Ordering::Acquire).as_ref() }
    }

    /// The digest of the certificate, if one was noted.
    pub(crate) fn digest(&self) -> Option<&Digest> {
        self.noted().map(|noted| &noted.digest)
    }

    /// Notes the certificate that the context has now. Out of memory the former one stays.
    pub(crate) fn look(&self, ctx: Ctx, certificates: &Certificates) {
        let (certificate, former) = (ctx.certificate(), self.noted());
        let is_known = former.is_some_and(|former| former.certificate == certificate.addr());
        let number = former.map_or(0, |former| former.number + 1);
        if certificate.is_null() || is_known || number == MOST {
            return;
        }
        // SAFETY: the context's present one, which the program does not replace meanwhile.
        let Some(digest) = (unsafe { certificates.digest(certificate) }) else { return };
        let former = former.map_or(ptr::null_mut(), |former| ptr::from_ref(former).cast_mut());
        let mut room = Vec::new();
        // SAFETY: as above.
        if room.try_reserve_exact(1).is_err() || unsafe { (self.api.X509_up_ref)(certificate) } != 1
        {
            return;
        }
        room.push(Noted { certificate: certificate.expose_provenance(), digest, former, number });
        let made = Box::into_raw(room.into_boxed_slice()).cast();
        let set = self.noted.compare_exchange(former, made, Ordering::AcqRel, Ordering::Relaxed);
        if set.is_err() {
            // Another thread has noted one.
            // SAFETY: made above, and seen by nobody.
            unsafe { self.free(made) };
        }
    }

    /// Frees one note, and returns the one before.
    ///
    /// # Safety
    ///
    /// A note that [`look`](Self::look) has made, and that is used no more.
    unsafe fn free(&self, noted: *mut Noted) -> *mut Noted {
        // SAFETY: as promised: a slice of one.
        let noted = unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(noted, 1)) };
        let [Noted { certificate, former, .. }] = *noted else { return ptr::null_mut() };
        let certificate: *mut c_void = ptr::with_exposed_provenance_mut(certificate);
        // SAFETY: our reference.
        unsafe { (self.api.X509_free)(certificate) };
        former
    }
}

impl Drop for Latest {
    fn drop(&mut self) {
        let mut noted = *self.noted.get_mut();
        while !noted.is_null() {
            // SAFETY: nobody uses this any more.
            noted = unsafe { self.free(noted) };
        }
    }
}
