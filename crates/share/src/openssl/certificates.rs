//! Digests of certificates, some of which are remembered.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::api::Api;

/// SHA-256 of something.
pub(crate) type Digest = [u8; 32];

/// The number of certificates that are remembered.
const MOST: usize = 8;

/// Digests of certificates. Each has a reference on its certificate, so that no address is taken for that of another one.
#[derive(Debug)]
pub(crate) struct Certificates {
    api: &'static Api,
    // Only tried: a fork may have left it locked. Then digests are made anew.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    certificates: [Option<(usize, Digest)>; MOST],
    next: usize,
}

impl Certificates {
    pub(crate) fn new(api: &'static Api) -> Self {
        Self { api, known: Mutex::default() }
    }

    /// The digest of a certificate that is alive; `None` without memory.
    ///
    /// # Safety
    ///
    /// The certificate is of this libssl, and alive.
    pub(crate) unsafe fn digest(&self, certificate: *mut c_void) -> Option<Digest> {
        let address = certificate.addr();
        if let Ok(known) = self.known.try_lock() {
            let mut found = known.certificates.iter().flatten();
            if let Some((_, digest)) = found.find(|(known, _)| *known == address) {
                return Some(*digest);
            }
        }
        let mut encoded = ptr::null_mut();
        // SAFETY: alive; libcrypto allocates the room.
        let length = unsafe { (self.api.i2d_X509)(certificate, &mut encoded) };
        let length = usize::try_from(length).ok().filter(|_| !encoded.is_null())?;
        // SAFETY: so many bytes.
        let digest = Sha256::digest(unsafe { std::slice::from_raw_parts(encoded, length) }).into();
        // SAFETY: allocated by libcrypto, and used no more.
        unsafe { (self.api.CRYPTO_free)(encoded.cast(), ptr::null(), 0) };
        // SAFETY: alive.
        if unsafe { (self.api.X509_up_ref)(certificate) } == 1 {
            self.remember(certificate, digest);
        }
        Some(digest)
    }

    /// Takes over a reference.
    fn remember(&self, certificate: *mut c_void, digest: Digest) {
        let former = match self.known.try_lock() {
            Ok(mut known) => {
                let place = known.next % MOST;
                known.next += 1;
                known.certificates[place].replace((certificate.expose_provenance(), digest))
            }
            Err(_) => Some((certificate.expose_provenance(), digest)),
        };
        former.into_iter().for_each(|(address, _)| self.free(address));
    }

    fn free(&self, address: usize) {
        // SAFETY: a certificate of which a reference was taken, and which is looked at no more.
        unsafe { (self.api.X509_free)(ptr::with_exposed_provenance_mut(address)) };
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let known = std::mem::take(
            &mut self.known.get_mut().unwrap_or_else(PoisonError::into_inner).certificates,
        );
        known.into_iter().flatten().for_each(|(address, _)| self.free(address));
    }
}
