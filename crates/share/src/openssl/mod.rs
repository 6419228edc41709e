//! OpenSSL, by the functions that the core finds: sessions and connections. All unsafe calls of OpenSSL are here.

mod api;
mod certificates;
mod connection;
mod encoded;
mod latest;
mod session;

pub(crate) use api::Api;
pub(crate) use certificates::{Certificates, Digest};
pub(crate) use connection::Connection;
pub(crate) use encoded::has_extended_master_secret;
pub(crate) use latest::Latest;
pub(crate) use session::{ENCODED, Owned, Session};

use std::ffi::c_void;

/// What there is to know of a context itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ctx {
    api: &'static Api,
    ctx: *mut c_void,
    library: *mut c_void,
}

impl Ctx {
    /// # Safety
    ///
    /// The context is of this libssl, and alive whenever this is used, and so is the library context that it was made in, if not
    /// NULL.
    pub(crate) unsafe fn alive(api: &'static Api, ctx: *mut c_void, library: *mut c_void) -> Self {
        Self { api, ctx, library }
    }

    /// Its present certificate, or NULL.
    pub(crate) fn certificate(self) -> *mut c_void {
        // SAFETY: alive.
        unsafe { (self.api.SSL_CTX_get0_certificate)(self.ctx) }
    }

    /// Fills `bytes` as libssl does for a session id. Returns whether that has worked.
    pub(crate) fn random(self, bytes: &mut [u8]) -> bool {
        // SAFETY: alive.
        unsafe { self.api.random(self.library, bytes) }
    }

    /// The timeout of its new sessions, in seconds.
    pub(crate) fn timeout(self) -> i64 {
        // SAFETY: alive.
        unsafe { (self.api.SSL_CTX_get_timeout)(self.ctx) }
    }

    /// The security callback; libssl has one of its own.
    pub(crate) fn security_callback(self) -> usize {
        // SAFETY: alive.
        unsafe { (self.api.SSL_CTX_get_security_callback)(self.ctx) }.addr()
    }
}
