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
        required { $($must:ident: $must_type:ty;)* }
        optional { $($may:ident: $may_type:ty;)* }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $table {
            $(pub(crate) $must: $must_type,)*
            $(pub(crate) $may: Option<$may_type>,)*
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
                    // SAFETY: an address under this name is this function, by OpenSSL's ABI.
                    #[allow(clippy::undocumented_unsafe_blocks, reason = "not seen in macros")]
                    let $must = unsafe { function(lookup(concat!(stringify!($must), "\0"))) };
                    let Some($must) = $must else { return Err(stringify!($must)) };
                )*
                $(
                    // SAFETY: as above.
                    #[allow(clippy::undocumented_unsafe_blocks, reason = "not seen in macros")]
                    let $may = unsafe { function(lookup(concat!(stringify!($may), "\0"))) };
                )*
                Ok(Self { $($must,)* $($may,)* })
            }
        }
    };
}

/// The function at an address; `None` for NULL.
///
/// # Safety
///
/// `F` is the type of the function that is there.
pub(crate) unsafe fn function<F: Copy>(address: *mut c_void) -> Option<F> {
    const { assert!(size_of::<Option<F>>() == size_of::<*mut c_void>()) };
    // SAFETY: as promised; NULL is `None`.
    unsafe { std::mem::transmute_copy(&address) }
}

functions! {
    /// The functions that our exports stand before. Each may be absent: what is not there was never
    /// called by a program linked with this libssl, and then fails as that function would.
    ///
    /// Each gets what the program has passed to the export.
    struct RealFns;
    required {}
    optional {
        SSL_CTX_new: unsafe extern "C-unwind" fn(*const SSL_METHOD) -> *mut SSL_CTX;
        SSL_CTX_new_ex: unsafe extern "C-unwind" fn(*mut OSSL_LIB_CTX, *const c_char, *const SSL_METHOD) -> *mut SSL_CTX;
        SSL_CTX_ctrl: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, c_int, c_long, *mut c_void) -> c_long;
        SSL_CTX_callback_ctrl: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, c_int, Option<AnyCallback>) -> c_long;
        SSL_CTX_set_client_hello_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<ClientHelloCallback>, *mut c_void);
        SSL_CTX_set_cert_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<CertificateCallback>, *mut c_void);
        SSL_set_cert_cb: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, Option<CertificateCallback>, *mut c_void);
        SSL_CTX_set_tlsext_ticket_key_evp_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<TicketKeyCallback>) -> c_int;
        SSL_CTX_set_session_ticket_cb: unsafe extern "C-unwind" fn(
            Option<CtxRef<'_>>, Option<TicketMaker>, Option<TicketReader>, *mut c_void
        ) -> c_int;
        SSL_CTX_add_session: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<AnySession<'_>>) -> c_int;
        SSL_CTX_remove_session: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<AnySession<'_>>) -> c_int;
        SSL_CTX_flush_sessions: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, c_long);
        SSL_CTX_flush_sessions_ex: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, libc::time_t);
        SSL_CTX_sessions: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>) -> *mut LHASH;
        SSL_CTX_sess_set_new_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<NewCallback>);
        SSL_CTX_sess_get_new_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>) -> Option<NewCallback>;
        SSL_CTX_sess_set_remove_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<RemoveCallback>);
        SSL_CTX_sess_get_remove_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>) -> Option<RemoveCallback>;
        SSL_CTX_sess_set_get_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<GetCallback>);
        SSL_CTX_sess_get_get_cb: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>) -> Option<GetCallback>;
        SSL_CTX_set_generate_session_id: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>, Option<GenerateCallback>) -> c_int;
        SSL_set_generate_session_id: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, Option<GenerateCallback>) -> c_int;
        SSL_new: unsafe extern "C-unwind" fn(Option<CtxRef<'_>>) -> *mut SSL;
        SSL_dup: unsafe extern "C-unwind" fn(Option<SslRef<'_>>) -> *mut SSL;
        SSL_set_SSL_CTX: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, Option<CtxRef<'_>>) -> *mut SSL_CTX;
        SSL_has_matching_session_id: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, *const c_uchar, c_uint) -> c_int;
        SSL_accept: unsafe extern "C-unwind" fn(Option<SslRef<'_>>) -> c_int;
        SSL_set_accept_state: unsafe extern "C-unwind" fn(Option<SslRef<'_>>);
        SSL_read_early_data: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, *mut c_void, usize, *mut usize) -> c_int;
        SSL_stateless: unsafe extern "C-unwind" fn(Option<SslRef<'_>>) -> c_int;
        DTLSv1_listen: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, *mut BIO_ADDR) -> c_int;
        SSL_get_options: unsafe extern "C-unwind" fn(Option<SslRef<'_>>) -> c_ulong;
        SSL_set_options: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, c_ulong) -> c_ulong;
        SSL_clear_options: unsafe extern "C-unwind" fn(Option<SslRef<'_>>, c_ulong) -> c_ulong;
        SSL_SESSION_set_time: unsafe extern "C-unwind" fn(Option<AnySession<'_>>, c_long) -> c_long;
        SSL_SESSION_set_time_ex: unsafe extern "C-unwind" fn(Option<AnySession<'_>>, libc::time_t) -> libc::time_t;
        SSL_SESSION_set_timeout: unsafe extern "C-unwind" fn(Option<AnySession<'_>>, c_long) -> c_long;
        SSL_SESSION_set1_id: unsafe extern "C-unwind" fn(Option<AnySession<'_>>, *const c_uchar, c_uint) -> c_int;
        SSL_SESSION_set_protocol_version: unsafe extern "C-unwind" fn(Option<AnySession<'_>>, c_int) -> c_int;
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
    ///
    /// Those that need nothing but live objects are safe to call.
    struct Api;
    required {
        SSL_CTX_ctrl: unsafe extern "C-unwind" fn(CtxRef<'_>, c_int, c_long, *mut c_void) -> c_long;
        SSL_CTX_add_session: extern "C-unwind" fn(CtxRef<'_>, AnySession<'_>) -> c_int;
        SSL_CTX_remove_session: extern "C-unwind" fn(CtxRef<'_>, AnySession<'_>) -> c_int;
        SSL_CTX_sess_set_new_cb: extern "C-unwind" fn(CtxRef<'_>, Option<NewCallback>);
        SSL_CTX_sess_set_remove_cb: extern "C-unwind" fn(CtxRef<'_>, Option<RemoveCallback>);
        SSL_CTX_sess_set_get_cb: extern "C-unwind" fn(CtxRef<'_>, Option<GetCallback>);
        SSL_CTX_sess_get_new_cb: extern "C-unwind" fn(CtxRef<'_>) -> Option<NewCallback>;
        SSL_CTX_sess_get_remove_cb: extern "C-unwind" fn(CtxRef<'_>) -> Option<RemoveCallback>;
        SSL_CTX_sess_get_get_cb: extern "C-unwind" fn(CtxRef<'_>) -> Option<GetCallback>;
        SSL_CTX_get_options: extern "C-unwind" fn(CtxRef<'_>) -> c_ulong;
        SSL_CTX_new: unsafe extern "C-unwind" fn(*const SSL_METHOD) -> *mut SSL_CTX;
        SSL_CTX_free: unsafe extern "C-unwind" fn(*mut SSL_CTX);
        SSL_CTX_up_ref: extern "C-unwind" fn(CtxRef<'_>) -> c_int;
        TLS_method: extern "C-unwind" fn() -> *const SSL_METHOD;
        SSL_get_SSL_CTX: extern "C-unwind" fn(SslRef<'_>) -> Option<CtxRef<'_>>;
        SSL_get_options: extern "C-unwind" fn(SslRef<'_>) -> c_ulong;
        SSL_set_options: extern "C-unwind" fn(SslRef<'_>, c_ulong) -> c_ulong;
        SSL_in_before: extern "C-unwind" fn(SslRef<'_>) -> c_int;
        SSL_get_max_early_data: extern "C-unwind" fn(SslRef<'_>) -> u32;
        SSL_is_server: extern "C-unwind" fn(SslRef<'_>) -> c_int;
        // The argument is kept, and nobody looks behind it.
        SSL_get_record_padding_callback_arg: extern "C-unwind" fn(SslRef<'_>) -> *mut c_void;
        SSL_set_record_padding_callback_arg: extern "C-unwind" fn(SslRef<'_>, *mut c_void);
        SSL_version: extern "C-unwind" fn(SslRef<'_>) -> c_int;
        SSL_SESSION_new: extern "C-unwind" fn() -> *mut SSL_SESSION;
        SSL_SESSION_free: unsafe extern "C-unwind" fn(AnySession<'_>);
        SSL_SESSION_up_ref: extern "C-unwind" fn(AnySession<'_>) -> c_int;
        SSL_SESSION_get_id: extern "C-unwind" fn(AnySession<'_>, &mut c_uint) -> *const c_uchar;
        SSL_SESSION_get_protocol_version: extern "C-unwind" fn(AnySession<'_>) -> c_int;
        SSL_SESSION_get_timeout: extern "C-unwind" fn(AnySession<'_>) -> c_long;
        SSL_SESSION_set_timeout: extern "C-unwind" fn(AnySession<'_>, c_long) -> c_long;
        SSL_SESSION_is_resumable: extern "C-unwind" fn(AnySession<'_>) -> c_int;
        SSL_SESSION_set1_id: unsafe extern "C-unwind" fn(AnySession<'_>, *const c_uchar, c_uint) -> c_int;
        SSL_SESSION_set_protocol_version: extern "C-unwind" fn(AnySession<'_>, c_int) -> c_int;
        // The pointer is handed to the functions, and ours do not look at it.
        CRYPTO_get_ex_new_index:
            extern "C-unwind" fn(c_int, c_long, *mut c_void, Option<ExNew>, Option<ExDup>, Option<ExFree>) -> c_int;
        OPENSSL_LH_new: extern "C-unwind" fn(LhHash, LhCompare) -> Option<TableRef<'static>>;
        OPENSSL_LH_free: unsafe extern "C-unwind" fn(TableRef<'_>);
        OPENSSL_LH_insert: unsafe extern "C-unwind" fn(TableRef<'_>, *mut c_void) -> *mut c_void;
        OPENSSL_LH_error: extern "C-unwind" fn(TableRef<'_>) -> c_int;
        ERR_set_mark: extern "C-unwind" fn() -> c_int;
        ERR_pop_to_mark: extern "C-unwind" fn() -> c_int;
        OpenSSL_version: extern "C-unwind" fn(c_int) -> *const c_char;
        CRYPTO_get_mem_functions: extern "C-unwind" fn(&mut MallocFunction, &mut ReallocFunction, &mut FreeFunction);
    }
    optional {
        // 3.0
        OSSL_LIB_CTX_set0_default: unsafe extern "C-unwind" fn(*mut OSSL_LIB_CTX) -> *mut OSSL_LIB_CTX;
        SSL_get0_param: extern "C-unwind" fn(SslRef<'_>) -> *mut X509_VERIFY_PARAM;
        // 3.3
        OPENSSL_LH_set_thunks: extern "C-unwind" fn(
            TableRef<'_>, LhHashThunk, LhCompareThunk, LhDoallThunk, LhDoallArgThunk
        ) -> *mut LHASH;
        // One of each two, by version and configuration: 3.3 brought the first pair, 3.4 the third
        // function, and a libssl without deprecated functions has only those.
        SSL_SESSION_get_time_ex: extern "C-unwind" fn(AnySession<'_>) -> libc::time_t;
        SSL_SESSION_get_time: extern "C-unwind" fn(AnySession<'_>) -> c_long;
        SSL_SESSION_set_time_ex: extern "C-unwind" fn(AnySession<'_>, libc::time_t) -> libc::time_t;
        SSL_SESSION_set_time: extern "C-unwind" fn(AnySession<'_>, c_long) -> c_long;
        SSL_CTX_flush_sessions: extern "C-unwind" fn(CtxRef<'_>, c_long);
        SSL_CTX_flush_sessions_ex: extern "C-unwind" fn(CtxRef<'_>, libc::time_t);
        OPENSSL_atexit: extern "C-unwind" fn(extern "C" fn()) -> c_int;
        // Only their addresses are used.
        CRYPTO_malloc: unsafe extern "C-unwind" fn(usize, *const c_char, c_int) -> *mut c_void;
        CRYPTO_realloc: unsafe extern "C-unwind" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void;
        CRYPTO_free: unsafe extern "C-unwind" fn(*mut c_void, *const c_char, c_int);
    }
}

impl Api {
    /// `SSL_CTX_ctrl` for a command that takes a number, or nothing.
    pub(crate) fn ctrl(&self, ctx: CtxRef<'_>, command: c_int, value: c_long) -> c_long {
        // SAFETY: the context is alive, and these commands do not look at the pointer.
        unsafe { (self.SSL_CTX_ctrl)(ctx, command, value, std::ptr::null_mut()) }
    }
}
