//! The C symbols that the dynamic linker sees: each function once for every version node under which a
//! libssl has had it, and once under our own.
//!
//! A caller is bound to the node that it was linked with, so with several libssl in one process each
//! reaches the real functions of its own. An export without a version would satisfy them all; one
//! under a wrong node is never bound, and nobody says so. Those without a node here get ours when the
//! shared library is linked (`abi/nodes.map`); the static library has them alone, because a linker
//! takes the others only along with such a map.
//!
//! A macro, because the same lines a hundred times would hide a wrong one. What is exported is held
//! against the list in `abi/` by `make abi-check`.

use std::ffi::{c_char, c_int, c_long, c_uchar, c_uint, c_void};

use super::{connection, context, flush, libcrypto, session};
use crate::libssl::Node;
use crate::libssl::types::*;

macro_rules! entries {
    ($($since:ident $module:ident::$name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        $(nodes! { $since $module $name ($($arg: $type),*) ($($ret)?) })*
    };
}

/// The nodes of a function, by the release that had it first. OpenSSL 4 has them all under one.
macro_rules! nodes {
    (v1_1_0 $($rest:tt)*) => {
        nodes! { v3_0 $($rest)* }
        entry! { V1_1 "@OPENSSL_1_1_0" $($rest)* }
    };
    (v1_1_1 $($rest:tt)*) => {
        nodes! { v3_0 $($rest)* }
        entry! { V1_1 "@OPENSSL_1_1_1" $($rest)* }
    };
    (v3_0 $($rest:tt)*) => {
        nodes! { own_and_v4 $($rest)* }
        entry! { V3 "@OPENSSL_3.0.0" $($rest)* }
    };
    (v3_3 $($rest:tt)*) => {
        nodes! { own_and_v4 $($rest)* }
        entry! { V3 "@OPENSSL_3.3.0" $($rest)* }
    };
    (v3_4 $($rest:tt)*) => {
        nodes! { own_and_v4 $($rest)* }
        entry! { V3 "@OPENSSL_3.4.0" $($rest)* }
    };
    (own_and_v4 $($rest:tt)*) => {
        entry! { Own "" $($rest)* }
        entry! { V4 "@OPENSSL_4.0.0" $($rest)* }
    };
}

macro_rules! entry {
    ($node:ident $version:literal $module:ident $name:ident
     ($($arg:ident: $type:ty),*) ($($ret:ty)?)) => {
        const _: () = {
            #[unsafe(export_name = concat!(stringify!($name), $version))]
            #[allow(deprecated, reason = "C programs are told by the header")]
            unsafe extern "C-unwind" fn entry($($arg: $type),*) $(-> $ret)? {
                // SAFETY: the caller's own promise.
                unsafe { $module::$name(Node::$node, $($arg),*) }
            }
        };
    };
}

entries! {
    v1_1_0 flush::SSL_CTX_flush_sessions(ctx: *mut SSL_CTX, tm: c_long);
    v3_4 flush::SSL_CTX_flush_sessions_ex(ctx: *mut SSL_CTX, tm: libc::time_t);
    v1_1_0 context::SSL_CTX_new(method: *const SSL_METHOD) -> *mut SSL_CTX;
    v3_0 context::SSL_CTX_new_ex(library: *mut OSSL_LIB_CTX, properties: *const c_char, method: *const SSL_METHOD) -> *mut SSL_CTX;
    v1_1_0 context::SSL_CTX_ctrl(ctx: *mut SSL_CTX, command: c_int, larg: c_long, parg: *mut c_void) -> c_long;
    v1_1_0 context::SSL_CTX_sess_set_new_cb(ctx: *mut SSL_CTX, callback: Option<NewCallback>);
    v1_1_0 context::SSL_CTX_sess_get_new_cb(ctx: *mut SSL_CTX) -> Option<NewCallback>;
    v1_1_0 context::SSL_CTX_sess_set_remove_cb(ctx: *mut SSL_CTX, callback: Option<RemoveCallback>);
    v1_1_0 context::SSL_CTX_sess_get_remove_cb(ctx: *mut SSL_CTX) -> Option<RemoveCallback>;
    v1_1_0 context::SSL_CTX_sess_set_get_cb(ctx: *mut SSL_CTX, callback: Option<GetCallback>);
    v1_1_0 context::SSL_CTX_sess_get_get_cb(ctx: *mut SSL_CTX) -> Option<GetCallback>;
    v1_1_0 context::SSL_CTX_set_generate_session_id(ctx: *mut SSL_CTX, callback: Option<GenerateCallback>) -> c_int;
    v1_1_0 context::SSL_CTX_sessions(ctx: *mut SSL_CTX) -> *mut LHASH;
    v1_1_0 connection::SSL_new(ctx: *mut SSL_CTX) -> *mut SSL;
    v1_1_0 connection::SSL_dup(ssl: *mut SSL) -> *mut SSL;
    v1_1_0 connection::SSL_set_SSL_CTX(ssl: *mut SSL, ctx: *mut SSL_CTX) -> *mut SSL_CTX;
    v1_1_0 connection::SSL_set_generate_session_id(ssl: *mut SSL, callback: Option<GenerateCallback>) -> c_int;
    v1_1_0 connection::SSL_has_matching_session_id(ssl: *const SSL, id: *const c_uchar, length: c_uint) -> c_int;
    v1_1_0 session::SSL_CTX_add_session(ctx: *mut SSL_CTX, session: *mut SSL_SESSION) -> c_int;
    v1_1_0 session::SSL_CTX_remove_session(ctx: *mut SSL_CTX, session: *mut SSL_SESSION) -> c_int;
    v1_1_0 session::SSL_SESSION_set_time(session: *mut SSL_SESSION, time: c_long) -> c_long;
    v3_3 session::SSL_SESSION_set_time_ex(session: *mut SSL_SESSION, time: libc::time_t) -> libc::time_t;
    v1_1_0 session::SSL_SESSION_set_timeout(session: *mut SSL_SESSION, timeout: c_long) -> c_long;
    v1_1_0 session::SSL_SESSION_set1_id(session: *mut SSL_SESSION, id: *const c_uchar, length: c_uint) -> c_int;
    v1_1_1 session::SSL_SESSION_set_protocol_version(session: *mut SSL_SESSION, version: c_int) -> c_int;
    v1_1_0 libcrypto::CRYPTO_get_ex_new_index(class: c_int, argl: c_long, argp: *mut c_void, new: Option<ExNew>, dup: Option<ExDup>, free: Option<ExFree>) -> c_int;
    v3_0 libcrypto::OSSL_LIB_CTX_free(library: *mut OSSL_LIB_CTX);
}
