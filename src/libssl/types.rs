//! OpenSSL's types, opaque, under their C names, and the constants that its public headers fix.
#![allow(
    non_camel_case_types,
    missing_docs,
    clippy::upper_case_acronyms,
    reason = "OpenSSL's own names"
)]

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_ulong, c_void};

use super::borrowed::Borrowed;

/// Declares types that are only ever seen through pointers.
macro_rules! opaque {
    ($($name:ident)*) => {
        $(
            #[repr(C)]
            pub struct $name {
                _opaque: [u8; 0],
            }
        )*
    };
}

opaque! { ssl_ctx_st ssl_st ssl_session_st ssl_method_st ossl_lib_ctx_st lhash_st X509_VERIFY_PARAM BIO_ADDR }

pub type SSL_CTX = ssl_ctx_st;
pub type SSL = ssl_st;
pub type SSL_SESSION = ssl_session_st;
pub type SSL_METHOD = ssl_method_st;
pub type OSSL_LIB_CTX = ossl_lib_ctx_st;
pub type LHASH = lhash_st;

/// A context.
pub(crate) type CtxRef<'a> = Borrowed<'a, SSL_CTX>;
/// A connection.
pub(crate) type SslRef<'a> = Borrowed<'a, SSL>;
/// A session, of a libssl that is still to be found out.
pub(crate) type AnySession<'a> = Borrowed<'a, SSL_SESSION>;
/// A table.
pub(crate) type TableRef<'a> = Borrowed<'a, LHASH>;

/// `SSL_CTX_sess_set_new_cb`
pub(crate) type NewCallback = extern "C-unwind" fn(SslRef<'_>, AnySession<'_>) -> c_int;
/// `SSL_CTX_sess_set_remove_cb`
pub(crate) type RemoveCallback = extern "C-unwind" fn(CtxRef<'_>, AnySession<'_>);
/// `SSL_CTX_sess_set_get_cb`: an id, its length, and a variable that says whether libssl is to take a reference of its own.
pub(crate) type GetCallback =
    unsafe extern "C-unwind" fn(SslRef<'_>, *const c_uchar, c_int, &mut c_int) -> *mut SSL_SESSION;
/// `SSL_CTX_set_generate_session_id`: room for an id, and a variable with its length.
pub(crate) type GenerateCallback =
    unsafe extern "C-unwind" fn(SslRef<'_>, *mut c_uchar, &mut c_uint) -> c_int;

/// `SSL_CTX_set_tlsext_servername_callback`: a variable for the alert, and the context's argument.
pub(crate) type ServernameCallback =
    unsafe extern "C-unwind" fn(SslRef<'_>, &mut c_int, *mut c_void) -> c_int;
/// `SSL_CTX_set_client_hello_cb`, of which only the presence matters, as of the next.
pub(crate) type ClientHelloCallback = AnyCallback;
/// `SSL_CTX_set_cert_cb`
pub(crate) type CertificateCallback = AnyCallback;
/// A callback of any type, which its setter knows.
pub(crate) type AnyCallback = unsafe extern "C-unwind" fn();
/// `SSL_CTX_set_tlsext_ticket_key_evp_cb`, of which only the presence matters, as of the next two.
pub(crate) type TicketKeyCallback = AnyCallback;
/// `SSL_CTX_generate_session_ticket_fn`
pub(crate) type TicketMaker = AnyCallback;
/// `SSL_CTX_decrypt_session_ticket_fn`
pub(crate) type TicketReader = AnyCallback;

/// `CRYPTO_EX_new`
pub type ExNew =
    unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, *mut c_void, c_int, c_long, *mut c_void);
/// `CRYPTO_EX_free`: object, value, table, index, and the two arguments of the registration.
pub type ExFree =
    unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, *mut c_void, c_int, c_long, *mut c_void);
/// `CRYPTO_EX_dup`, of which only the address is passed on.
pub type ExDup = unsafe extern "C-unwind" fn() -> c_int;

/// `CRYPTO_malloc_fn` and the like, of which only the address is compared.
pub type MallocFunction = *mut c_void;
pub type ReallocFunction = *mut c_void;
pub type FreeFunction = *mut c_void;

// Functions of a table of sessions, to which libcrypto passes sessions alone; NULL if the program looks for that.
pub(crate) type LhHash = extern "C-unwind" fn(Option<AnySession<'_>>) -> c_ulong;
pub(crate) type LhCompare =
    extern "C-unwind" fn(Option<AnySession<'_>>, Option<AnySession<'_>>) -> c_int;
pub(crate) type LhDoall = extern "C-unwind" fn(AnySession<'_>);
pub(crate) type LhDoallArg = extern "C-unwind" fn(AnySession<'_>, *mut c_void);
pub(crate) type LhHashThunk = extern "C-unwind" fn(Option<AnySession<'_>>, LhHash) -> c_ulong;
pub(crate) type LhCompareThunk =
    extern "C-unwind" fn(Option<AnySession<'_>>, Option<AnySession<'_>>, LhCompare) -> c_int;
pub(crate) type LhDoallThunk = extern "C-unwind" fn(AnySession<'_>, LhDoall);
pub(crate) type LhDoallArgThunk = extern "C-unwind" fn(AnySession<'_>, *mut c_void, LhDoallArg);

pub const SSL_CTRL_SESS_NUMBER: c_int = 20;
pub const SSL_CTRL_SESS_CONNECT_GOOD: c_int = 22;
pub const SSL_CTRL_SESS_ACCEPT_GOOD: c_int = 25;
pub const SSL_CTRL_SESS_HIT: c_int = 27;
pub const SSL_CTRL_SESS_CB_HIT: c_int = 28;
pub const SSL_CTRL_SESS_MISSES: c_int = 29;
pub const SSL_CTRL_SESS_CACHE_FULL: c_int = 31;
pub const SSL_CTRL_SET_SESS_CACHE_SIZE: c_int = 42;
pub const SSL_CTRL_GET_SESS_CACHE_SIZE: c_int = 43;
pub const SSL_CTRL_SET_SESS_CACHE_MODE: c_int = 44;
pub const SSL_CTRL_GET_SESS_CACHE_MODE: c_int = 45;

pub const SSL_CTRL_SET_TLSEXT_SERVERNAME_CB: c_int = 53;
pub const SSL_CTRL_SET_TLSEXT_TICKET_KEYS: c_int = 59;
pub const SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB: c_int = 72;

pub const SSL_SESS_CACHE_SERVER: u32 = 0x002;
pub const SSL_SESS_CACHE_BOTH: u32 = 0x003;
pub const SSL_SESS_CACHE_NO_AUTO_CLEAR: u32 = 0x080;
pub const SSL_SESS_CACHE_NO_INTERNAL_LOOKUP: u32 = 0x100;
pub const SSL_SESS_CACHE_NO_INTERNAL_STORE: u32 = 0x200;
pub const SSL_SESS_CACHE_NO_INTERNAL: u32 = 0x300;
pub const SSL_SESS_CACHE_UPDATE_TIME: u32 = 0x400;

pub const SSL_TLSEXT_ERR_ALERT_FATAL: c_int = 2;
pub const SSL_TLSEXT_ERR_NOACK: c_int = 3;
pub const SSL_AD_HANDSHAKE_FAILURE: c_int = 40;

pub const SSL_OP_NO_TICKET: u32 = 1 << 14;
pub const SSL_OP_NO_ANTI_REPLAY: u32 = 1 << 24;

pub const SSL_MAX_SSL_SESSION_ID_LENGTH: usize = 32;
pub const TLS1_3_VERSION: c_int = 0x304;
/// `SSL_version`'s answer for a QUIC connection.
pub const OSSL_QUIC1_VERSION: c_int = 1;

pub const CRYPTO_EX_INDEX_SSL: c_int = 0;
pub const CRYPTO_EX_INDEX_SSL_CTX: c_int = 1;

pub type OpenSslVersion = unsafe extern "C-unwind" fn(c_int) -> *const c_char;
