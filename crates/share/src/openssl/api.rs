//! The functions of libssl and libcrypto that sharing needs, for each libssl of the process.
#![allow(non_snake_case, reason = "OpenSSL's own names")]

use std::ffi::{CStr, c_char, c_int, c_long, c_uchar, c_uint, c_ulong, c_void};

use once_cell::race::OnceBox;
use sslsweep_share_table::Core;

use crate::memory;

/// An object of OpenSSL, seen only through pointers.
pub(super) type Object = *mut c_void;

/// Declares the table, and how it is filled, name by name.
macro_rules! functions {
    (required { $($must:ident: $must_type:ty;)* } optional { $($may:ident: $may_type:ty;)* }) => {
        /// The functions of one libssl.
        #[derive(Debug)]
        pub(crate) struct Api {
            $(pub(super) $must: $must_type,)*
            $(pub(super) $may: Option<$may_type>,)*
        }

        impl Api {
            /// Fills the table; `None` if a required function is not there.
            fn resolve(find: impl Fn(&CStr) -> Object) -> Option<Self> {
                let find = |name: &str| {
                    CStr::from_bytes_with_nul(name.as_bytes()).map_or(std::ptr::null_mut(), &find)
                };
                // SAFETY: an address under a name is this function, by OpenSSL's ABI.
                #[allow(clippy::multiple_unsafe_ops_per_block, clippy::undocumented_unsafe_blocks, reason = "one claim for all")]
                unsafe {
                    Some(Self {
                        $($must: function(find(concat!(stringify!($must), "\0")))?,)*
                        $($may: function(find(concat!(stringify!($may), "\0"))),)*
                    })
                }
            }
        }
    };
}

/// The function at an address; `None` for NULL.
///
/// # Safety
///
/// `F` is the type of the function that is there.
unsafe fn function<F: Copy>(address: Object) -> Option<F> {
    const { assert!(size_of::<Option<F>>() == size_of::<Object>()) };
    // SAFETY: as promised; NULL is `None`.
    unsafe { std::mem::transmute_copy(&address) }
}

functions! {
    required {
        OpenSSL_version_num: unsafe extern "C" fn() -> c_ulong;
        SSL_CTX_get0_certificate: unsafe extern "C" fn(Object) -> Object;
        SSL_CTX_get_timeout: unsafe extern "C" fn(Object) -> c_long;
        SSL_CTX_get_security_callback: unsafe extern "C" fn(Object) -> Object;
        SSL_ctrl: unsafe extern "C" fn(Object, c_int, c_long, Object) -> c_long;
        SSL_version: unsafe extern "C" fn(Object) -> c_int;
        SSL_is_server: unsafe extern "C" fn(Object) -> c_int;
        SSL_session_reused: unsafe extern "C" fn(Object) -> c_int;
        SSL_get_session: unsafe extern "C" fn(Object) -> Object;
        SSL_renegotiate_pending: unsafe extern "C" fn(Object) -> c_int;
        SSL_get_options: unsafe extern "C" fn(Object) -> c_ulong;
        SSL_get_certificate: unsafe extern "C" fn(Object) -> Object;
        SSL_get_privatekey: unsafe extern "C" fn(Object) -> Object;
        SSL_get_verify_mode: unsafe extern "C" fn(Object) -> c_int;
        SSL_get_verify_depth: unsafe extern "C" fn(Object) -> c_int;
        SSL_get_security_level: unsafe extern "C" fn(Object) -> c_int;
        SSL_get_security_callback: unsafe extern "C" fn(Object) -> Object;
        SSL_get_max_early_data: unsafe extern "C" fn(Object) -> u32;
        SSL_get_ciphers: unsafe extern "C" fn(Object) -> Object;
        SSL_get_current_cipher: unsafe extern "C" fn(Object) -> Object;
        SSL_get_client_CA_list: unsafe extern "C" fn(Object) -> Object;
        SSL_get0_param: unsafe extern "C" fn(Object) -> Object;
        SSL_get_servername: unsafe extern "C" fn(Object, c_int) -> *const c_char;
        SSL_client_hello_get0_ext: unsafe extern "C" fn(Object, c_uint, *mut *const c_uchar, *mut usize) -> c_int;
        SSL_get_client_random: unsafe extern "C" fn(Object, *mut c_uchar, usize) -> usize;
        SSL_CIPHER_get_protocol_id: unsafe extern "C" fn(Object) -> u16;
        SSL_CIPHER_get_kx_nid: unsafe extern "C" fn(Object) -> c_int;
        SSL_CIPHER_get_auth_nid: unsafe extern "C" fn(Object) -> c_int;
        SSL_SESSION_new: unsafe extern "C" fn() -> Object;
        SSL_SESSION_free: unsafe extern "C" fn(Object);
        SSL_SESSION_get_id: unsafe extern "C" fn(Object, *mut c_uint) -> *const c_uchar;
        SSL_SESSION_get_protocol_version: unsafe extern "C" fn(Object) -> c_int;
        SSL_SESSION_get_timeout: unsafe extern "C" fn(Object) -> c_long;
        SSL_SESSION_is_resumable: unsafe extern "C" fn(Object) -> c_int;
        SSL_SESSION_get0_peer: unsafe extern "C" fn(Object) -> Object;
        SSL_SESSION_get0_cipher: unsafe extern "C" fn(Object) -> Object;
        SSL_SESSION_get_max_fragment_length: unsafe extern "C" fn(Object) -> u8;
        SSL_SESSION_get_compress_id: unsafe extern "C" fn(Object) -> c_uint;
        SSL_SESSION_get_ex_data: unsafe extern "C" fn(Object, c_int) -> Object;
        i2d_SSL_SESSION: unsafe extern "C" fn(Object, *mut *mut c_uchar) -> c_int;
        d2i_SSL_SESSION: unsafe extern "C" fn(*mut Object, *mut *const c_uchar, c_long) -> Object;
        X509_VERIFY_PARAM_get_flags: unsafe extern "C" fn(Object) -> c_ulong;
        X509_VERIFY_PARAM_get_auth_level: unsafe extern "C" fn(Object) -> c_int;
        X509_NAME_get0_der: unsafe extern "C" fn(Object, *mut *const c_uchar, *mut usize) -> c_int;
        X509_up_ref: unsafe extern "C" fn(Object) -> c_int;
        X509_free: unsafe extern "C" fn(Object);
        i2d_X509: unsafe extern "C" fn(Object, *mut *mut c_uchar) -> c_int;
        CRYPTO_free: unsafe extern "C" fn(Object, *const c_char, c_int);
        OPENSSL_sk_num: unsafe extern "C" fn(Object) -> c_int;
        OPENSSL_sk_value: unsafe extern "C" fn(Object, c_int) -> Object;
        ERR_set_mark: unsafe extern "C" fn() -> c_int;
        ERR_pop_to_mark: unsafe extern "C" fn() -> c_int;
    }
    optional {
        // One of the two, by version and configuration.
        SSL_SESSION_get_time_ex: unsafe extern "C" fn(Object) -> i64;
        SSL_SESSION_get_time: unsafe extern "C" fn(Object) -> c_long;
        // 3.0
        X509_VERIFY_PARAM_get0_host: unsafe extern "C" fn(Object, c_int) -> *const c_char;
        // Without it, if OpenSSL was built so.
        SSL_get_srp_username: unsafe extern "C" fn(Object) -> *const c_char;
        // One of the two, by version.
        RAND_bytes_ex: unsafe extern "C" fn(Object, *mut c_uchar, usize, c_uint) -> c_int;
        RAND_bytes: unsafe extern "C" fn(*mut c_uchar, c_int) -> c_int;
        // 3.2
        SSL_SESSION_get0_peer_rpk: unsafe extern "C" fn(Object) -> Object;
    }
}

/// As many as the core takes over.
const LIBSSL: usize = 8;
static APIS: [OnceBox<Option<Api>>; LIBSSL] = [const { OnceBox::new() }; LIBSSL];

impl Api {
    /// The functions of the libssl of this number; `None` if it lacks one.
    pub(crate) fn of(core: &Core, libssl: usize) -> Option<&'static Self> {
        let place = APIS.get(libssl)?;
        let resolve = || Self::resolve(|name| (core.find)(libssl, name.as_ptr()));
        place.get_or_try_init(|| memory::boxed(resolve()).ok_or(())).ok()?.as_ref()
    }

    /// Returns whether bit 0 of the options means something else.
    pub(crate) fn is_before_3(&self) -> bool {
        // SAFETY: it has no preconditions.
        unsafe { (self.OpenSSL_version_num)() >> 28 < 3 }
    }

    /// Fills `bytes`, at most 32, from the generator of a library context of this libcrypto (NULL: the default one). Returns
    /// whether that has worked.
    ///
    /// # Safety
    ///
    /// The library context is alive.
    pub(crate) unsafe fn random(&self, library: Object, bytes: &mut [u8]) -> bool {
        let length = bytes.len();
        match (self.RAND_bytes_ex, self.RAND_bytes) {
            // SAFETY: as promised; room for so many bytes. (0: as strong as the generator can.)
            (Some(random), _) => unsafe { random(library, bytes.as_mut_ptr(), length, 0) == 1 },
            // SAFETY: as above.
            (None, Some(random)) => unsafe { random(bytes.as_mut_ptr(), length as c_int) == 1 },
            (None, None) => false,
        }
    }

    /// Major and minor number, as sessions of one are not for another.
    pub(crate) fn version(&self) -> u32 {
        // SAFETY: it has no preconditions.
        let version = unsafe { (self.OpenSSL_version_num)() };
        // 0xMNNFFPPS; before 3.0 the third number is part of what 3.0 has in the second.
        let kept = if version >> 28 < 3 { version >> 12 } else { version >> 20 };
        kept as u32
    }
}
