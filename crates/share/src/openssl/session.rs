//! A session.

use std::ffi::{c_int, c_uint};
use std::marker::PhantomData;
use std::ptr;

use zeroize::Zeroizing;

use super::api::{Api, Object};

/// The room for an encoded session.
pub(crate) const ENCODED: usize = 512;

/// A session that is alive for a lifetime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session<'a> {
    api: &'static Api,
    session: Object,
    alive: PhantomData<&'a ()>,
}

/// A reference of our own.
#[derive(Debug)]
pub(crate) struct Owned {
    api: &'static Api,
    session: Object,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: our reference, which is used no more.
        unsafe { (self.api.SSL_SESSION_free)(self.session) };
    }
}

impl Owned {
    pub(crate) fn get(&self) -> Session<'_> {
        Session { api: self.api, session: self.session, alive: PhantomData }
    }

    /// Gives the reference away.
    pub(crate) fn into_raw(self) -> Object {
        std::mem::ManuallyDrop::new(self).session
    }

    /// A new session.
    fn new(api: &'static Api) -> Option<Self> {
        // SAFETY: it has no preconditions.
        let session = unsafe { (api.SSL_SESSION_new)() };
        (!session.is_null()).then_some(Self { api, session })
    }

    /// Decodes a session. What libssl has to say about bad input is dropped.
    pub(crate) fn decode(api: &'static Api, encoded: &[u8]) -> Option<Self> {
        let mut at = encoded.as_ptr();
        // SAFETY: these need nothing; a mark is popped again.
        unsafe { (api.ERR_set_mark)() };
        // SAFETY: so many bytes.
        let session =
            unsafe { (api.d2i_SSL_SESSION)(ptr::null_mut(), &mut at, encoded.len() as _) };
        // SAFETY: as above.
        unsafe { (api.ERR_pop_to_mark)() };
        let owned = (!session.is_null()).then_some(Self { api, session })?;
        // Nothing may follow it.
        (at == encoded.as_ptr_range().end).then_some(owned)
    }
}

impl<'a> Session<'a> {
    /// # Safety
    ///
    /// The session is of this libssl and stays alive for the lifetime.
    pub(crate) unsafe fn alive(api: &'static Api, session: Object) -> Self {
        Self { api, session, alive: PhantomData }
    }

    pub(crate) fn address(self) -> usize {
        self.session.addr()
    }

    pub(crate) fn version(self) -> c_int {
        // SAFETY: alive, here and below.
        unsafe { (self.api.SSL_SESSION_get_protocol_version)(self.session) }
    }

    /// The id, at most 32 bytes.
    pub(crate) fn id(&self) -> &[u8] {
        let mut length: c_uint = 0;
        // SAFETY: as above.
        let id = unsafe { (self.api.SSL_SESSION_get_id)(self.session, &mut length) };
        if id.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: an array of 32 bytes within the session.
        unsafe { std::slice::from_raw_parts(id, (length as usize).min(32)) }
    }

    /// When it was made, in seconds since the epoch.
    pub(crate) fn time(self) -> i64 {
        match (self.api.SSL_SESSION_get_time_ex, self.api.SSL_SESSION_get_time) {
            // SAFETY: as above.
            (Some(get_time_ex), _) => unsafe { get_time_ex(self.session) },
            // SAFETY: as above.
            (None, Some(get_time)) => unsafe { get_time(self.session) },
            (None, None) => 0,
        }
    }

    /// When it expires, in seconds since the epoch; saturating.
    pub(crate) fn expiry(self) -> i64 {
        // SAFETY: as above.
        let timeout = unsafe { (self.api.SSL_SESSION_get_timeout)(self.session) };
        self.time().saturating_add(timeout)
    }

    pub(crate) fn is_resumable(self) -> bool {
        // SAFETY: as above.
        unsafe { (self.api.SSL_SESSION_is_resumable)(self.session) == 1 }
    }

    /// Returns whether the client has shown a certificate or a raw public key.
    pub(crate) fn has_peer(self) -> bool {
        // SAFETY: as above.
        let certificate = unsafe { (self.api.SSL_SESSION_get0_peer)(self.session) };
        // SAFETY: as above.
        let key = self.api.SSL_SESSION_get0_peer_rpk.map(|peer| unsafe { peer(self.session) });
        !certificate.is_null() || key.is_some_and(|key| !key.is_null())
    }

    pub(crate) fn is_compressed(self) -> bool {
        // SAFETY: as above.
        unsafe { (self.api.SSL_SESSION_get_compress_id)(self.session) != 0 }
    }

    /// The code of the longest record that was agreed upon, if any was.
    pub(crate) fn fragment_length(self) -> Option<u8> {
        // SAFETY: as above. (0 and 255 are no codes.)
        let code = unsafe { (self.api.SSL_SESSION_get_max_fragment_length)(self.session) };
        Some(code).filter(|code| (1..=4).contains(code))
    }

    /// The cipher's two bytes.
    pub(crate) fn cipher(self) -> Option<[u8; 2]> {
        // SAFETY: as above.
        let cipher = unsafe { (self.api.SSL_SESSION_get0_cipher)(self.session) };
        // SAFETY: as above.
        (!cipher.is_null())
            .then(|| unsafe { (self.api.SSL_CIPHER_get_protocol_id)(cipher) }.to_be_bytes())
    }

    /// Returns whether the program has attached nothing to the session that it does not attach to every new one.
    pub(crate) fn is_plain(self) -> bool {
        /// More indices than programs have. (libcrypto does not tell their number.)
        const INDICES: c_int = 32;
        let Some(fresh) = Owned::new(self.api) else { return false };
        // SAFETY: both are alive, and an index without a value gives NULL.
        let value = |session, index| unsafe { (self.api.SSL_SESSION_get_ex_data)(session, index) };
        (0..INDICES).all(|index| value(self.session, index) == value(fresh.session, index))
    }

    /// Encodes the session. Returns the number of bytes; `None` if it needs more room.
    pub(crate) fn encode(self, into: &mut Zeroizing<[u8; ENCODED]>) -> Option<usize> {
        // SAFETY: as above; NULL asks for the length alone.
        let length = unsafe { (self.api.i2d_SSL_SESSION)(self.session, ptr::null_mut()) };
        let length =
            usize::try_from(length).ok().filter(|length| (1..=ENCODED).contains(length))?;
        let mut at = into.as_mut_ptr();
        // SAFETY: there is room for that many bytes.
        let written = unsafe { (self.api.i2d_SSL_SESSION)(self.session, &mut at) };
        (written == length as c_int).then_some(length)
    }
}
