//! `SSL_SESSION`, borrowed and owned.

use std::ffi::{c_int, c_long, c_uint};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::ptr::NonNull;

use super::find::{Libssl, MAX_LIBSSL, by_index};
use super::prefetch;
use super::symbols::Api;
use super::types::{AnySession, SSL_MAX_SSL_SESSION_ID_LENGTH, SSL_SESSION};
use crate::cache::Expiry;

/// Bytes of an `SSL_SESSION`: 648 in 1.1.1, 936 since 3.0, as malloc gives them.
const SIZE: usize = 936;

/// A session's address. Which libssl it belongs to stands in the lowest bits, which are zero for whatever malloc
/// returns. (A second pointer would cost each stored session eight bytes.)
type Tagged = NonNull<SSL_SESSION>;

const INDEX: usize = MAX_LIBSSL - 1;
const _: () =
    assert!(MAX_LIBSSL == 8, "malloc aligns to more than that, and three bits count to eight");

/// A session that somebody else keeps alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionRef<'a>(Tagged, PhantomData<&'a SSL_SESSION>);

impl<'a> SessionRef<'a> {
    /// The session that a caller of this libssl has passed; `None` when libssl is not taken over.
    pub(crate) fn of(libssl: &'static Libssl, session: AnySession<'a>) -> Option<Self> {
        libssl.api.as_ref()?;
        if session.address() & INDEX != 0 {
            return None;
        }
        let tagged = session.as_ptr().map_addr(|address| address | libssl.index);
        NonNull::new(tagged).map(|tagged| Self(tagged, PhantomData))
    }

    /// The session as libssl knows it.
    pub(crate) fn any(self) -> AnySession<'a> {
        // SAFETY: no session lies at so small an address.
        let untagged =
            |address: NonZero<usize>| unsafe { NonZero::new_unchecked(address.get() & !INDEX) };
        // SAFETY: alive for as long as this.
        unsafe { AnySession::alive(self.0.map_addr(untagged)) }
    }

    /// # Safety
    ///
    /// The session must stay alive while the result is used.
    pub(crate) unsafe fn extended(self) -> SessionRef<'static> {
        SessionRef(self.0, PhantomData)
    }

    pub(crate) fn address(self) -> usize {
        self.0.addr().get() & !INDEX
    }

    /// Asks the processor to fetch the session's memory, which is about to be marked and freed.
    pub(crate) fn prefetch(self) {
        prefetch::lines(self.any().as_ptr().cast(), SIZE);
    }

    #[inline]
    fn api(self) -> &'static Api {
        let api = by_index(self.0.addr().get() & INDEX).and_then(|libssl| libssl.api.as_ref());
        // SAFETY: made only of a libssl that is taken over, by `of`.
        unsafe { api.unwrap_unchecked() }
    }

    /// A reference of our own; `None` if the count can't be raised.
    pub(crate) fn retain(self) -> Option<Session> {
        let raised = (self.api().SSL_SESSION_up_ref)(self.any());
        // Lazily: a Session that is dropped gives a reference up.
        (raised == 1).then(|| Session(self.0))
    }

    /// The session as the cache knows it, without a reference of our own.
    pub(crate) fn borrowed(self) -> ManuallyDrop<Session> {
        ManuallyDrop::new(Session(self.0))
    }

    pub(crate) fn version(self) -> c_int {
        (self.api().SSL_SESSION_get_protocol_version)(self.any())
    }

    /// The session id, at most 32 bytes.
    pub(crate) fn id(&self) -> &[u8] {
        let mut length: c_uint = 0;
        let id = (self.api().SSL_SESSION_get_id)(self.any(), &mut length);
        let length = (length as usize).min(SSL_MAX_SSL_SESSION_ID_LENGTH);
        if id.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: the id is an array of 32 bytes within the session.
        unsafe { std::slice::from_raw_parts(id, length) }
    }

    /// Returns whether a cache has one key for both: the same version and id.
    pub(crate) fn has_key_of(self, other: SessionRef<'_>) -> bool {
        self.version() == other.version() && self.id() == other.id()
    }

    /// When it expires: contract, "expiry".
    pub(crate) fn expiry(self) -> Expiry {
        let (api, session) = (self.api(), self.any());
        let time = match (api.SSL_SESSION_get_time_ex, api.SSL_SESSION_get_time) {
            (Some(get_time_ex), _) => get_time_ex(session),
            (None, Some(get_time)) => get_time(session),
            (None, None) => i64::MAX,
        };
        Expiry::new(time, (api.SSL_SESSION_get_timeout)(session))
    }

    /// Sets the session's time, in seconds since the epoch.
    pub(crate) fn set_time(self, time: i64) {
        if let Some(set_time_ex) = self.api().SSL_SESSION_set_time_ex {
            set_time_ex(self.any(), time);
        } else if let Some(set_time) = self.api().SSL_SESSION_set_time {
            set_time(self.any(), time as c_long);
        }
    }

    /// Sets the timeout, in seconds.
    pub(crate) fn set_timeout(self, timeout: c_long) {
        (self.api().SSL_SESSION_set_timeout)(self.any(), timeout);
    }

    pub(crate) fn is_resumable(self) -> bool {
        (self.api().SSL_SESSION_is_resumable)(self.any()) == 1
    }
}

/// A session on which we hold one reference.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Session(Tagged);

// SAFETY: OpenSSL counts references atomically, and its sessions may be used from any thread.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Session {
    /// Takes over a reference that the caller owns. `None` for NULL, or when libssl is not taken over.
    ///
    /// # Safety
    ///
    /// A session that is not NULL must be this libssl's and alive, and its caller must give one
    /// reference away.
    pub(crate) unsafe fn adopt(libssl: &'static Libssl, session: *mut SSL_SESSION) -> Option<Self> {
        // SAFETY: alive while we hold the reference that is given.
        let session = unsafe { AnySession::new(session) }?;
        SessionRef::of(libssl, session).map(|session| Self(session.0))
    }

    /// A new session of this version and id (at most 32 bytes), and nothing else.
    pub(crate) fn with_key(libssl: &'static Libssl, version: c_int, id: &[u8]) -> Option<Self> {
        let api = libssl.api.as_ref()?;
        // SAFETY: the new session's reference is ours.
        let session = unsafe { Self::adopt(libssl, (api.SSL_SESSION_new)()) }?;
        let new = session.get().any();
        // SAFETY: the id is copied.
        unsafe { (api.SSL_SESSION_set1_id)(new, id.as_ptr(), id.len() as c_uint) };
        (api.SSL_SESSION_set_protocol_version)(new, version);
        Some(session)
    }

    pub(crate) fn get(&self) -> SessionRef<'_> {
        SessionRef(self.0, PhantomData)
    }

    /// Gives the reference away.
    pub(crate) fn into_raw(self) -> *mut SSL_SESSION {
        ManuallyDrop::new(self).get().any().as_ptr()
    }
}

impl Clone for Session {
    fn clone(&self) -> Self {
        // We hold a reference, so the count is at least one and can be raised.
        (self.get().api().SSL_SESSION_up_ref)(self.get().any());
        Self(self.0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: we hold one reference and use it no more.
        unsafe { (self.get().api().SSL_SESSION_free)(self.get().any()) };
    }
}
