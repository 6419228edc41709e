//! A connection of a server, and its client's hello.

use std::ffi::{CStr, c_int, c_long, c_uint};
use std::marker::PhantomData;
use std::ptr;

use sslsweep_share_table::{Questions, QuestionsOf};

use super::api::{Api, Object};

const SSL_CTRL_GET_TOTAL_RENEGOTIATIONS: c_int = 12;
const SSL_CTRL_GET_RAW_CIPHERLIST: c_int = 110;
const SSL_CTRL_SET_CURRENT_CERT: c_int = 117;
const SSL_CERT_SET_FIRST: c_long = 1;
const SSL_CERT_SET_NEXT: c_long = 2;
const SSL_OP_NO_EXTENDED_MASTER_SECRET: u64 = 1;
const SSL_OP_NO_ANTI_REPLAY: u64 = 1 << 24;
const TLS1_3_VERSION: c_int = 0x304;
const TLSEXT_TYPE_SERVER_NAME: c_uint = 0;
const TLSEXT_TYPE_MAX_FRAGMENT_LENGTH: c_uint = 1;
const TLSEXT_TYPE_EXTENDED_MASTER_SECRET: c_uint = 23;

/// A connection that is alive for a lifetime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection<'a> {
    api: &'static Api,
    ssl: Object,
    alive: PhantomData<&'a ()>,
}

impl<'a> Connection<'a> {
    /// # Safety
    ///
    /// The connection is of this libssl, and used by this thread alone for the lifetime.
    pub(crate) unsafe fn alive(api: &'static Api, ssl: Object) -> Self {
        Self { api, ssl, alive: PhantomData }
    }

    pub(crate) fn is_server(self) -> bool {
        // SAFETY: alive, here and below.
        unsafe { (self.api.SSL_is_server)(self.ssl) == 1 }
    }

    /// The protocol's version, and 1 for QUIC.
    pub(crate) fn version(self) -> c_int {
        // SAFETY: as above.
        unsafe { (self.api.SSL_version)(self.ssl) }
    }

    pub(crate) fn is_tls13(self) -> bool {
        self.version() == TLS1_3_VERSION
    }

    /// Returns whether a session is resumed, or a pre-shared key of another origin.
    pub(crate) fn is_resumed(self) -> bool {
        // SAFETY: as above.
        unsafe { (self.api.SSL_session_reused)(self.ssl) == 1 }
    }

    /// The address of its present session.
    pub(crate) fn session(self) -> usize {
        // SAFETY: as above.
        unsafe { (self.api.SSL_get_session)(self.ssl) }.addr()
    }

    pub(crate) fn asks_for_certificate(self) -> bool {
        // SAFETY: as above.
        unsafe { (self.api.SSL_get_verify_mode)(self.ssl) != 0 }
    }

    /// The security callback; libssl has one of its own.
    pub(crate) fn security_callback(self) -> usize {
        // SAFETY: as above.
        unsafe { (self.api.SSL_get_security_callback)(self.ssl) }.addr()
    }

    /// Returns whether a replay of early data would be refused, for which libssl demands each session but once.
    pub(crate) fn refuses_replays(self) -> bool {
        self.takes_early_data() && self.options() & SSL_OP_NO_ANTI_REPLAY == 0
    }

    pub(crate) fn takes_early_data(self) -> bool {
        // SAFETY: as above.
        unsafe { (self.api.SSL_get_max_early_data)(self.ssl) > 0 }
    }

    fn options(self) -> u64 {
        // SAFETY: as above.
        unsafe { (self.api.SSL_get_options)(self.ssl) }
    }

    fn ctrl(self, command: c_int, value: c_long) -> c_long {
        // SAFETY: as above; these commands do not look at the pointer.
        unsafe { (self.api.SSL_ctrl)(self.ssl, command, value, ptr::null_mut()) }
    }

    /// Returns whether this hello is not the connection's first.
    pub(crate) fn renegotiates(self) -> bool {
        // SAFETY: as above.
        unsafe { (self.api.SSL_renegotiate_pending)(self.ssl) != 0 }
    }

    pub(crate) fn has_renegotiated(self) -> bool {
        self.ctrl(SSL_CTRL_GET_TOTAL_RENEGOTIATIONS, 0) > 0
    }

    /// Returns whether client and server have shown each other nothing but the server's certificate: no pre-shared key, no
    /// password.
    pub(crate) fn is_by_certificate_alone(self) -> bool {
        /// RSA, ECDHE, DHE, and those of TLS 1.3.
        const EXCHANGES: [c_int; 4] = [1037, 1038, 1039, 1063];
        /// RSA, ECDSA, and those of TLS 1.3.
        const AUTHENTICATIONS: [c_int; 3] = [1046, 1047, 1064];
        // SAFETY: as above.
        let cipher = unsafe { (self.api.SSL_get_current_cipher)(self.ssl) };
        if cipher.is_null() {
            return false;
        }
        // SAFETY: libssl's constant.
        let exchange = unsafe { (self.api.SSL_CIPHER_get_kx_nid)(cipher) };
        // SAFETY: as above.
        let authentication = unsafe { (self.api.SSL_CIPHER_get_auth_nid)(cipher) };
        // SAFETY: as above.
        let user = self.api.SSL_get_srp_username.map(|user| unsafe { user(self.ssl) });
        EXCHANGES.contains(&exchange)
            && AUTHENTICATIONS.contains(&authentication)
            && user.is_none_or(|user| user.is_null())
    }

    // --- What trust is made of ---------------------------------------------------------------

    /// Visits each certificate that the connection has, in libssl's order. Returns whether there is one, and it is known
    /// which is the present one.
    ///
    /// libssl lists them only by making one after the other the present one. (A connection made for that would be simpler,
    /// but costs microseconds, and is not this one, which the program may have given others.)
    pub(crate) fn for_each_certificate(self, mut visit: impl FnMut(Object)) -> bool {
        // SAFETY: as above, here and below.
        let certificate = || unsafe { (self.api.SSL_get_certificate)(self.ssl) };
        let (present, set) =
            (certificate(), |which| self.ctrl(SSL_CTRL_SET_CURRENT_CERT, which) == 1);
        // SAFETY: as above.
        let key = unsafe { (self.api.SSL_get_privatekey)(self.ssl) };
        // One without a key would not be found again.
        if present.is_null() || key.is_null() || !set(SSL_CERT_SET_FIRST) {
            return false;
        }
        visit(certificate());
        while set(SSL_CERT_SET_NEXT) {
            visit(certificate());
        }
        set(SSL_CERT_SET_FIRST);
        while certificate() != present && set(SSL_CERT_SET_NEXT) {}
        certificate() == present
    }

    /// Verify depth, security level, and the flags and level of the parameters of verification.
    pub(crate) fn levels(self) -> [i64; 4] {
        // SAFETY: as above, and the parameters are the connection's.
        #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one claim")]
        unsafe {
            let parameters = (self.api.SSL_get0_param)(self.ssl);
            [
                (self.api.SSL_get_verify_depth)(self.ssl).into(),
                (self.api.SSL_get_security_level)(self.ssl).into(),
                (self.api.X509_VERIFY_PARAM_get_flags)(parameters) as i64,
                (self.api.X509_VERIFY_PARAM_get_auth_level)(parameters).into(),
            ]
        }
    }

    /// Visits the names that a peer's certificate must have.
    pub(crate) fn for_each_host(self, mut visit: impl FnMut(&[u8])) {
        /// More than any program asks for.
        const MOST: c_int = 32;
        let Some(host) = self.api.X509_VERIFY_PARAM_get0_host else { return };
        // SAFETY: as above.
        let parameters = unsafe { (self.api.SSL_get0_param)(self.ssl) };
        for index in 0..MOST {
            // SAFETY: as above; beyond the last one it is NULL.
            let host = unsafe { host(parameters, index) };
            if host.is_null() {
                break;
            }
            // SAFETY: a string.
            visit(unsafe { CStr::from_ptr(host) }.to_bytes());
        }
    }

    /// Visits the names of the authorities whose certificates clients may show, in DER.
    pub(crate) fn for_each_client_authority(self, mut visit: impl FnMut(&[u8])) {
        // SAFETY: as above.
        let list = unsafe { (self.api.SSL_get_client_CA_list)(self.ssl) };
        self.for_each_of(list, |name| {
            let (mut der, mut length) = (ptr::null(), 0);
            // SAFETY: a name of the list.
            let known = unsafe { (self.api.X509_NAME_get0_der)(name, &mut der, &mut length) } == 1;
            if known && !der.is_null() {
                // SAFETY: its encoding, which it keeps.
                visit(unsafe { std::slice::from_raw_parts(der, length) });
            }
        });
    }

    /// The numbers of the ciphers, best first. `None` if there are more than any libssl has.
    pub(crate) fn ciphers(self, room: &mut [[u8; 2]; 256]) -> Option<&[[u8; 2]]> {
        // SAFETY: as above.
        let list = unsafe { (self.api.SSL_get_ciphers)(self.ssl) };
        let mut number = 0;
        self.for_each_of(list, |cipher| {
            // SAFETY: libssl's constant.
            let id = unsafe { (self.api.SSL_CIPHER_get_protocol_id)(cipher) };
            if let Some(place) = room.get_mut(number) {
                *place = id.to_be_bytes();
            }
            number += 1;
        });
        room.get(..number)
    }

    fn for_each_of(self, list: Object, mut visit: impl FnMut(Object)) {
        // SAFETY: a list of the connection's, or NULL, which has -1.
        let number = unsafe { (self.api.OPENSSL_sk_num)(list) };
        for index in 0..number {
            // SAFETY: as above.
            visit(unsafe { (self.api.OPENSSL_sk_value)(list, index) });
        }
    }

    /// The name of the server that the client has asked for, once the hello has been read.
    pub(crate) fn server_name(&self) -> Option<&[u8]> {
        // SAFETY: as above; 0 is TLSEXT_NAMETYPE_host_name.
        let name = unsafe { (self.api.SSL_get_servername)(self.ssl, 0) };
        // SAFETY: a string of the connection's or its session's.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
    }

    // --- The client's hello, while libssl reads it -------------------------------------------

    /// The same while the hello is read.
    pub(crate) fn hello_name(&self) -> Option<&[u8]> {
        let extension = self.hello_extension(TLSEXT_TYPE_SERVER_NAME)?;
        // The lengths of the list, the type (0 is a host's name), the length of the name.
        match extension {
            [_, _, 0, high, low, name @ ..] => {
                name.get(..usize::from(u16::from_be_bytes([*high, *low])))
            }
            _ => None,
        }
    }

    /// Returns whether both sides want an extended master secret.
    pub(crate) fn wants_extended_master_secret(self) -> bool {
        self.hello_extension(TLSEXT_TYPE_EXTENDED_MASTER_SECRET).is_some()
            && (self.api.is_before_3() || self.options() & SSL_OP_NO_EXTENDED_MASTER_SECRET == 0)
    }

    /// The code of the longest record that the client wants.
    pub(crate) fn fragment_length(self) -> Option<u8> {
        self.hello_extension(TLSEXT_TYPE_MAX_FRAGMENT_LENGTH)?.first().copied()
    }

    pub(crate) fn offers_cipher(self, cipher: [u8; 2]) -> bool {
        // (SSL_client_hello_get0_ciphers has nothing left by now.)
        let mut bytes: *const u8 = ptr::null();
        let to = ptr::from_mut(&mut bytes).cast();
        // SAFETY: as above; the command stores a pointer.
        let length = unsafe { (self.api.SSL_ctrl)(self.ssl, SSL_CTRL_GET_RAW_CIPHERLIST, 0, to) };
        let length = usize::try_from(length).unwrap_or(0);
        if bytes.is_null() {
            return false;
        }
        // SAFETY: so many bytes of the hello.
        let offered = unsafe { std::slice::from_raw_parts(bytes, length) };
        offered.chunks_exact(2).any(|one| one == cipher)
    }

    /// Looks at, and changes, what the connection has asked the fleet since this hello. `None` without memory for it.
    ///
    /// # Safety
    ///
    /// `of` is the core's, and `libssl` the number of the connection's.
    pub(crate) unsafe fn questions<R>(
        self,
        libssl: usize,
        of: QuestionsOf,
        look: impl FnOnce(&mut Questions) -> R,
    ) -> Option<R> {
        // SAFETY: alive, and as promised.
        let questions = unsafe { of(libssl, self.ssl) };
        // SAFETY: the connection's own, and nobody looks into it meanwhile: `look` does not call the core for it.
        let questions = unsafe { questions.as_mut() }?;
        let mut random = [0; 8];
        // SAFETY: room for so many bytes. (libssl has set it before it looks for a session.)
        unsafe { (self.api.SSL_get_client_random)(self.ssl, random.as_mut_ptr(), random.len()) };
        let hello = u64::from_ne_bytes(random);
        if questions.hello != hello {
            *questions = Questions { hello, ..Questions::default() };
        }
        Some(look(questions))
    }

    fn hello_extension(&self, kind: c_uint) -> Option<&[u8]> {
        let (mut bytes, mut length) = (ptr::null(), 0);
        let get = self.api.SSL_client_hello_get0_ext;
        // SAFETY: as above.
        if unsafe { get(self.ssl, kind, &mut bytes, &mut length) } != 1 {
            return None;
        }
        // SAFETY: so many bytes of the hello; an empty extension may have none.
        Some(if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bytes, length) } })
    }
}
