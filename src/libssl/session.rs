//! `SSL_SESSION`, borrowed and owned.

use std::ffi::{c_int, c_long, c_uint};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::borrowed::AnySession;
use super::find::{Libssl, MOST, by_index};
use super::prefetch;
use super::symbols::Api;
use super::types::{SSL_MAX_SSL_SESSION_ID_LENGTH, SSL_SESSION};
use crate::cache::Expiry;

/// Bytes of an `SSL_SESSION`: 648 in 1.1.1, 936 since 3.0, as malloc gives them.
const SIZE: usize = 936;

/// A session that somebody else keeps alive.
///
/// Which libssl it belongs to stands in the address's lowest bits, which are zero for whatever malloc
/// returns. (A second pointer would cost each stored session eight bytes.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionRef(NonNull<SSL_SESSION>);

const INDEX: usize = MOST - 1;
const _: () = assert!(MOST == 8, "malloc aligns to more than that, and three bits count to eight");

impl SessionRef {
    /// `None` for NULL, or when libssl is not taken over.
    ///
    /// # Safety
    ///
    /// A session that is not NULL must be this libssl's, and stay alive while the result is used.
    pub(crate) unsafe fn new(libssl: &'static Libssl, session: *mut SSL_SESSION) -> Option<Self> {
        libssl.api.as_ref()?;
        if session.is_null() || session.addr() & INDEX != 0 {
            return None;
        }
        NonNull::new(session.map_addr(|address| address | libssl.index)).map(Self)
    }

    /// The session that a caller of this libssl has passed; `None` when libssl is not taken over.
    pub(crate) fn of(libssl: &'static Libssl, session: AnySession<'_>) -> Option<Self> {
        // SAFETY: alive during the call, and of the libssl that its caller is linked with.
        unsafe { Self::new(libssl, session.as_ptr()) }
    }

    pub(crate) fn as_ptr(self) -> *mut SSL_SESSION {
        self.0.as_ptr().map_addr(|address| address & !INDEX)
    }

    /// Asks the processor to fetch the session's memory, which is about to be marked and freed.
    pub(crate) fn prefetch(self) {
        prefetch::lines(self.as_ptr().cast(), SIZE);
    }

    fn api(self) -> &'static Api {
        by_index(self.0.addr().get() & INDEX)
            .and_then(|libssl| libssl.api.as_ref())
            .unwrap_or_else(|| unreachable!("made only of a libssl that is taken over"))
    }

    /// A reference of our own; `None` if the count can't be raised.
    pub(crate) fn retain(self) -> Option<Session> {
        // SAFETY: the session is alive, as promised to `new`.
        let raised = unsafe { (self.api().SSL_SESSION_up_ref)(self.as_ptr()) };
        // Lazily: a Session that is dropped gives a reference up.
        (raised == 1).then(|| Session(self))
    }

    /// The session as the cache knows it, without a reference of our own.
    pub(crate) fn borrowed(self) -> ManuallyDrop<Session> {
        ManuallyDrop::new(Session(self))
    }

    pub(crate) fn version(self) -> c_int {
        // SAFETY: the session is alive, as promised to `new`.
        unsafe { (self.api().SSL_SESSION_get_protocol_version)(self.as_ptr()) }
    }

    /// The session id, at most 32 bytes.
    pub(crate) fn id(&self) -> &[u8] {
        let mut length: c_uint = 0;
        // SAFETY: the session is alive, as promised to `new`.
        let id = unsafe { (self.api().SSL_SESSION_get_id)(self.as_ptr(), &raw mut length) };
        let length = (length as usize).min(SSL_MAX_SSL_SESSION_ID_LENGTH);
        if id.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: the id is an array of 32 bytes within the session.
        unsafe { std::slice::from_raw_parts(id, length) }
    }

    /// Returns whether a cache has one key for both: the same version and id.
    pub(crate) fn has_key_of(self, other: Self) -> bool {
        self.version() == other.version() && self.id() == other.id()
    }

    /// When it expires: contract, "expiry".
    pub(crate) fn expiry(self) -> Expiry {
        let time = match (self.api().SSL_SESSION_get_time_ex, self.api().SSL_SESSION_get_time) {
            // SAFETY: the session is alive, as promised to `new`.
            (Some(get_time_ex), _) => unsafe { get_time_ex(self.as_ptr()) },
            // SAFETY: as above.
            (None, Some(get_time)) => unsafe { get_time(self.as_ptr()) },
            (None, None) => i64::MAX,
        };
        // SAFETY: as above.
        let timeout = unsafe { (self.api().SSL_SESSION_get_timeout)(self.as_ptr()) };
        Expiry::new(time, timeout)
    }

    /// Sets the session's time, in seconds since the epoch.
    pub(crate) fn set_time(self, time: i64) {
        if let Some(set_time_ex) = self.api().SSL_SESSION_set_time_ex {
            // SAFETY: the session is alive, as promised to `new`.
            unsafe { set_time_ex(self.as_ptr(), time) };
        } else if let Some(set_time) = self.api().SSL_SESSION_set_time {
            // SAFETY: as above.
            unsafe { set_time(self.as_ptr(), time as c_long) };
        }
    }

    /// Sets the timeout, in seconds.
    pub(crate) fn set_timeout(self, timeout: c_long) {
        // SAFETY: the session is alive, as promised to `new`.
        unsafe { (self.api().SSL_SESSION_set_timeout)(self.as_ptr(), timeout) };
    }

    pub(crate) fn is_resumable(self) -> bool {
        // SAFETY: the session is alive, as promised to `new`.
        unsafe { (self.api().SSL_SESSION_is_resumable)(self.as_ptr()) == 1 }
    }
}

/// A session on which we hold one reference.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Session(SessionRef);

// SAFETY: OpenSSL counts references atomically, and its sessions may be used from any thread.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Session {
    /// Takes over a reference that the caller owns.
    ///
    /// # Safety
    ///
    /// A session that is not NULL must be this libssl's and alive, and its caller must give one
    /// reference away.
    pub(crate) unsafe fn adopt(libssl: &'static Libssl, session: *mut SSL_SESSION) -> Option<Self> {
        // SAFETY: alive while we hold the reference that is given.
        unsafe { SessionRef::new(libssl, session) }.map(Self)
    }

    /// A new session of this version and id (at most 32 bytes), and nothing else.
    pub(crate) fn with_key(libssl: &'static Libssl, version: c_int, id: &[u8]) -> Option<Self> {
        let api = libssl.api.as_ref()?;
        // SAFETY: no preconditions.
        let session = unsafe { (api.SSL_SESSION_new)() };
        // SAFETY: the new session's reference is ours.
        let session = unsafe { Self::adopt(libssl, session) }?;
        // SAFETY: the session is ours, and the id is copied.
        unsafe { (api.SSL_SESSION_set1_id)(session.as_ptr(), id.as_ptr(), id.len() as c_uint) };
        // SAFETY: the session is ours.
        unsafe { (api.SSL_SESSION_set_protocol_version)(session.as_ptr(), version) };
        Some(session)
    }

    /// Gives the reference away.
    pub(crate) fn into_raw(self) -> *mut SSL_SESSION {
        ManuallyDrop::new(self).as_ptr()
    }
}

impl std::ops::Deref for Session {
    type Target = SessionRef;

    fn deref(&self) -> &SessionRef {
        &self.0
    }
}

impl Clone for Session {
    fn clone(&self) -> Self {
        // SAFETY: we hold a reference, so the count is at least one and can be raised.
        unsafe { (self.api().SSL_SESSION_up_ref)(self.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: we hold one reference and use it no more.
        unsafe { (self.api().SSL_SESSION_free)(self.as_ptr()) };
    }
}
