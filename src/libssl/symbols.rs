//! The functions of libssl and libcrypto: those that stand behind our exports, and those that the
//! takeover calls.
#![allow(non_snake_case, missing_docs, reason = "OpenSSL's own names")]

use std::ffi::{CStr, c_char, c_int, c_long, c_uchar, c_uint, c_ulong, c_void};

use super::types::*;

/// Declares a table of functions and how it is filled: name by name, from `lookup`.
macro_rules! functions {
    (
        $(#[$about:meta])*
        struct $table:ident;
        required { $(fn $must:ident($($must_arg:ty),*) $(-> $must_ret:ty)?;)* }
        optional { $(fn $may:ident($($may_arg:ty),*) $(-> $may_ret:ty)?;)* }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $table {
            $(pub(crate) $must: unsafe extern "C-unwind" fn($($must_arg),*) $(-> $must_ret)?,)*
            $(pub(crate) $may: Option<unsafe extern "C-unwind" fn($($may_arg),*) $(-> $may_ret)?>,)*
        }

        impl $table {
            /// Fills the table, or names the first required function that is not there.
            pub(super) fn resolve(
                lookup: impl Fn(&CStr) -> *mut c_void,
            ) -> Result<Self, &'static str> {
                let lookup = |name: &str| {
                    CStr::from_bytes_with_nul(name.as_bytes())
                        .map_or(std::ptr::null_mut(), &lookup)
                };
                $(
                    let address = lookup(concat!(stringify!($must), "\0"));
                    // SAFETY: an address under this name is this function, by OpenSSL's ABI, and
                    // NULL is `None`.
                    #[allow(clippy::undocumented_unsafe_blocks, reason = "not seen in macros")]
                    let $must: Option<unsafe extern "C-unwind" fn($($must_arg),*) $(-> $must_ret)?> =
                        unsafe { std::mem::transmute(address) };
                    let Some($must) = $must else { return Err(stringify!($must)) };
                )*
                $(
                    let address = lookup(concat!(stringify!($may), "\0"));
                    // SAFETY: as above.
                    #[allow(clippy::undocumented_unsafe_blocks, reason = "not seen in macros")]
                    let $may: Option<unsafe extern "C-unwind" fn($($may_arg),*) $(-> $may_ret)?> =
                        unsafe { std::mem::transmute(address) };
                )*
                Ok(Self { $($must,)* $($may,)* })
            }
        }
    };
}

functions! {
    /// The functions that our exports stand before. Each may be absent: what is not there was never
    /// called by a program linked with this libssl, and then fails as that function would.
    struct RealFns;
    required {}
    optional {
        fn SSL_CTX_new(*const SSL_METHOD) -> *mut SSL_CTX;
        fn SSL_CTX_new_ex(*mut OSSL_LIB_CTX, *const c_char, *const SSL_METHOD) -> *mut SSL_CTX;
        fn SSL_CTX_ctrl(*mut SSL_CTX, c_int, c_long, *mut c_void) -> c_long;
        fn SSL_CTX_add_session(*mut SSL_CTX, *mut SSL_SESSION) -> c_int;
        fn SSL_CTX_remove_session(*mut SSL_CTX, *mut SSL_SESSION) -> c_int;
        fn SSL_CTX_flush_sessions(*mut SSL_CTX, c_long);
        fn SSL_CTX_flush_sessions_ex(*mut SSL_CTX, libc::time_t);
        fn SSL_CTX_sessions(*mut SSL_CTX) -> *mut LHASH;
        fn SSL_CTX_sess_set_new_cb(*mut SSL_CTX, Option<NewCallback>);
        fn SSL_CTX_sess_get_new_cb(*mut SSL_CTX) -> Option<NewCallback>;
        fn SSL_CTX_sess_set_remove_cb(*mut SSL_CTX, Option<RemoveCallback>);
        fn SSL_CTX_sess_get_remove_cb(*mut SSL_CTX) -> Option<RemoveCallback>;
        fn SSL_CTX_sess_set_get_cb(*mut SSL_CTX, Option<GetCallback>);
        fn SSL_CTX_sess_get_get_cb(*mut SSL_CTX) -> Option<GetCallback>;
        fn SSL_CTX_set_generate_session_id(*mut SSL_CTX, Option<GenerateCallback>) -> c_int;
        fn SSL_set_generate_session_id(*mut SSL, Option<GenerateCallback>) -> c_int;
        fn SSL_new(*mut SSL_CTX) -> *mut SSL;
        fn SSL_dup(*mut SSL) -> *mut SSL;
        fn SSL_set_SSL_CTX(*mut SSL, *mut SSL_CTX) -> *mut SSL_CTX;
        fn SSL_has_matching_session_id(*const SSL, *const c_uchar, c_uint) -> c_int;
        fn SSL_SESSION_set_time(*mut SSL_SESSION, c_long) -> c_long;
        fn SSL_SESSION_set_time_ex(*mut SSL_SESSION, libc::time_t) -> libc::time_t;
        fn SSL_SESSION_set_timeout(*mut SSL_SESSION, c_long) -> c_long;
        fn SSL_SESSION_set1_id(*mut SSL_SESSION, *const c_uchar, c_uint) -> c_int;
        fn SSL_SESSION_set_protocol_version(*mut SSL_SESSION, c_int) -> c_int;
    }
}

impl RealFns {
    /// The functions of an object. Of two that mean the same where a `long` holds a `time_t`, a libssl may have one:
    /// those of `time_t` came later, and those of `long` are gone without deprecated functions.
    pub(super) fn of(lookup: impl Fn(&CStr) -> *mut c_void) -> Self {
        let mut real = Self::resolve(lookup).unwrap_or_else(|_| unreachable!("none is required"));
        let flush = (real.SSL_CTX_flush_sessions, real.SSL_CTX_flush_sessions_ex);
        real.SSL_CTX_flush_sessions = flush.0.or(flush.1);
        real.SSL_CTX_flush_sessions_ex = flush.1.or(flush.0);
        let set_time = (real.SSL_SESSION_set_time, real.SSL_SESSION_set_time_ex);
        real.SSL_SESSION_set_time = set_time.0.or(set_time.1);
        real.SSL_SESSION_set_time_ex = set_time.1.or(set_time.0);
        real
    }
}

functions! {
    /// The functions that the takeover needs. A libssl without one of the required functions is left alone.
    struct Api;
    required {
        fn SSL_CTX_ctrl(*mut SSL_CTX, c_int, c_long, *mut c_void) -> c_long;
        fn SSL_CTX_add_session(*mut SSL_CTX, *mut SSL_SESSION) -> c_int;
        fn SSL_CTX_remove_session(*mut SSL_CTX, *mut SSL_SESSION) -> c_int;
        fn SSL_CTX_sess_set_new_cb(*mut SSL_CTX, Option<NewCallback>);
        fn SSL_CTX_sess_set_remove_cb(*mut SSL_CTX, Option<RemoveCallback>);
        fn SSL_CTX_sess_set_get_cb(*mut SSL_CTX, Option<GetCallback>);
        fn SSL_CTX_sess_get_new_cb(*mut SSL_CTX) -> Option<NewCallback>;
        fn SSL_CTX_sess_get_remove_cb(*mut SSL_CTX) -> Option<RemoveCallback>;
        fn SSL_CTX_sess_get_get_cb(*mut SSL_CTX) -> Option<GetCallback>;
        fn SSL_CTX_get_options(*const SSL_CTX) -> c_ulong;
        fn SSL_CTX_new(*const SSL_METHOD) -> *mut SSL_CTX;
        fn SSL_CTX_free(*mut SSL_CTX);
        fn SSL_CTX_up_ref(*mut SSL_CTX) -> c_int;
        fn TLS_method() -> *const SSL_METHOD;
        fn SSL_get_SSL_CTX(*const SSL) -> *mut SSL_CTX;
        fn SSL_get_options(*const SSL) -> c_ulong;
        fn SSL_get_max_early_data(*const SSL) -> u32;
        fn SSL_is_server(*const SSL) -> c_int;
        fn SSL_get_record_padding_callback_arg(*const SSL) -> *mut c_void;
        fn SSL_set_record_padding_callback_arg(*mut SSL, *mut c_void);
        fn SSL_version(*const SSL) -> c_int;
        fn SSL_SESSION_new() -> *mut SSL_SESSION;
        fn SSL_SESSION_free(*mut SSL_SESSION);
        fn SSL_SESSION_up_ref(*mut SSL_SESSION) -> c_int;
        fn SSL_SESSION_get_id(*const SSL_SESSION, *mut c_uint) -> *const c_uchar;
        fn SSL_SESSION_get_protocol_version(*const SSL_SESSION) -> c_int;
        fn SSL_SESSION_get_timeout(*const SSL_SESSION) -> c_long;
        fn SSL_SESSION_set_timeout(*mut SSL_SESSION, c_long) -> c_long;
        fn SSL_SESSION_is_resumable(*const SSL_SESSION) -> c_int;
        fn SSL_SESSION_set1_id(*mut SSL_SESSION, *const c_uchar, c_uint) -> c_int;
        fn SSL_SESSION_set_protocol_version(*mut SSL_SESSION, c_int) -> c_int;
        fn CRYPTO_get_ex_new_index(
            c_int, c_long, *mut c_void, Option<ExNew>, Option<ExDup>, Option<ExFree>
        ) -> c_int;
        fn OPENSSL_LH_new(LhHash, LhCompare) -> *mut LHASH;
        fn OPENSSL_LH_free(*mut LHASH);
        fn OPENSSL_LH_insert(*mut LHASH, *mut c_void) -> *mut c_void;
        fn OPENSSL_LH_error(*mut LHASH) -> c_int;
        fn ERR_set_mark() -> c_int;
        fn ERR_pop_to_mark() -> c_int;
        fn OpenSSL_version(c_int) -> *const c_char;
        fn CRYPTO_get_mem_functions(*mut MallocFunction, *mut ReallocFunction, *mut FreeFunction);
    }
    optional {
        // 3.0
        fn OSSL_LIB_CTX_set0_default(*mut OSSL_LIB_CTX) -> *mut OSSL_LIB_CTX;
        fn SSL_get0_param(*mut SSL) -> *mut X509_VERIFY_PARAM;
        // 3.3
        fn OPENSSL_LH_set_thunks(
            *mut LHASH, LhHashThunk, LhCompareThunk, LhDoallThunk, LhDoallArgThunk
        ) -> *mut LHASH;
        // One of each two, by version and configuration: 3.3 brought the first pair, 3.4 the third
        // function, and a libssl without deprecated functions has only those.
        fn SSL_SESSION_get_time_ex(*const SSL_SESSION) -> libc::time_t;
        fn SSL_SESSION_get_time(*const SSL_SESSION) -> c_long;
        fn SSL_SESSION_set_time_ex(*mut SSL_SESSION, libc::time_t) -> libc::time_t;
        fn SSL_SESSION_set_time(*mut SSL_SESSION, c_long) -> c_long;
        fn SSL_CTX_flush_sessions(*mut SSL_CTX, c_long);
        fn SSL_CTX_flush_sessions_ex(*mut SSL_CTX, libc::time_t);
        fn OPENSSL_atexit(unsafe extern "C" fn()) -> c_int;
        // Only their addresses are used.
        fn CRYPTO_malloc(usize, *const c_char, c_int) -> *mut c_void;
        fn CRYPTO_realloc(*mut c_void, usize, *const c_char, c_int) -> *mut c_void;
        fn CRYPTO_free(*mut c_void, *const c_char, c_int);
    }
}
