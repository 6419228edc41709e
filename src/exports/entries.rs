//! The C symbols that the linkers see: each function once for every version node under which a libssl has had it, and
//! once under its plain name.
//!
//! The dynamic linker binds a caller to the node that it was linked with, so with several libssl in one process each
//! reaches the real functions of its own, and OpenSSL inside of a plug-in, or another library with functions of
//! these names, never reaches us. The nodes are hidden (`@`, not `@@`): a program is relinked by the order of its
//! libraries and not by the names that it takes. The plain names are the static library's; the shared one keeps those of
//! the flush pair, which a program may look up by `dlsym` (`checks/abi/nodes.map`).
//!
//! Each symbol is a few instructions that pass two more arguments on: the node, and where the call returns to, which
//! tells callers apart whose node does not ([`Caller`]). In Rust that address cannot be asked for.
//!
//! musl's loader knows no versions: there, everything has its plain name alone, and callers of others are sent on
//! ([`super::elsewhere`]).
//!
//! A macro, because the same lines a hundred times would hide a wrong one. It adds the versions and the real function,
//! and nothing else. What is exported is held against the list in `checks/abi/` by `make abi-check`.

use std::ffi::{CStr, c_char, c_int, c_long, c_uchar, c_uint, c_ulong, c_void};

use super::{Real, connection, context, flush, libcrypto, server, session};
use crate::libssl::types::*;
use crate::libssl::{Caller, Libssl, Node};

macro_rules! entries {
    ($($since:ident $module:ident::$name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => { $(
        #[allow(non_snake_case, reason = "OpenSSL's names")]
        mod $name {
            use super::*;

            #[allow(deprecated, reason = "C programs are told by the header")]
            extern "C-unwind" fn entry($($arg: $type,)* caller: Caller) $(-> $ret)? {
                const NAME: &CStr = name!($name);
                let real = Real { caller, name: NAME, function: &call!(caller $module $name $($arg)*) };
                $module::$name(real, $($arg),*)
            }
            symbols! { $since $name ($($arg)*) entry }
        }
    )* };
}

/// Calls the real function, with the caller's arguments. Those of libcrypto are found by the exports themselves, as there
/// need not be a libssl.
macro_rules! call {
    ($caller:ident libcrypto $($rest:ident)*) => {
        |_: Option<&'static Libssl>| None
    };
    ($caller:ident $module:ident $name:ident $($arg:ident)*) => {
        |known: Option<&'static Libssl>| {
            $caller.with_real(NAME, known, |real| {
                // SAFETY: it gets what its caller has passed, who could have called it directly.
                #[allow(clippy::undocumented_unsafe_blocks, reason = "not seen in macros")]
                real.$name.map(|function| unsafe { function($($arg),*) })
            })
        }
    };
}

macro_rules! name {
    ($name:ident) => {
        match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => c"",
        }
    };
}

/// The nodes of a function, by the release that had it first. OpenSSL 4 has them all under one. musl's loader knows none.
macro_rules! symbols {
    (v1_1_0 $($rest:tt)*) => {
        symbols! { v3_0 $($rest)* }
        #[cfg(not(target_env = "musl"))]
        symbol! { "@OPENSSL_1_1_0" 1 $($rest)* }
    };
    (v1_1_1 $($rest:tt)*) => {
        symbols! { v3_0 $($rest)* }
        #[cfg(not(target_env = "musl"))]
        symbol! { "@OPENSSL_1_1_1" 1 $($rest)* }
    };
    (v3_0 $($rest:tt)*) => {
        symbols! { plain_and_v4 $($rest)* }
        #[cfg(not(target_env = "musl"))]
        symbol! { "@OPENSSL_3.0.0" 2 $($rest)* }
    };
    (v3_3 $($rest:tt)*) => {
        symbols! { plain_and_v4 $($rest)* }
        #[cfg(not(target_env = "musl"))]
        symbol! { "@OPENSSL_3.3.0" 2 $($rest)* }
    };
    (v3_4 $($rest:tt)*) => {
        symbols! { plain_and_v4 $($rest)* }
        #[cfg(not(target_env = "musl"))]
        symbol! { "@OPENSSL_3.4.0" 2 $($rest)* }
    };
    (plain_and_v4 $($rest:tt)*) => {
        symbol! { "" 0 $($rest)* }
        #[cfg(not(target_env = "musl"))]
        symbol! { "@OPENSSL_4.0.0" 3 $($rest)* }
    };
}

const _: () = assert!(
    Node::Own as usize == 0
        && Node::V1_1 as usize == 1
        && Node::V3 as usize == 2
        && Node::V4 as usize == 3
);

/// One symbol: the node and the address that the call returns to are the arguments behind those of the function.
macro_rules! symbol {
    ($version:literal $node:literal $name:ident () $entry:ident) => {
        symbol! { $version $node $name $entry "edi" "rsi" "w0" "x1" }
    };
    ($version:literal $node:literal $name:ident ($a:ident) $entry:ident) => {
        symbol! { $version $node $name $entry "esi" "rdx" "w1" "x2" }
    };
    ($version:literal $node:literal $name:ident ($a:ident $b:ident) $entry:ident) => {
        symbol! { $version $node $name $entry "edx" "rcx" "w2" "x3" }
    };
    ($version:literal $node:literal $name:ident ($a:ident $b:ident $c:ident) $entry:ident) => {
        symbol! { $version $node $name $entry "ecx" "r8" "w3" "x4" }
    };
    ($version:literal $node:literal $name:ident ($a:ident $b:ident $c:ident $d:ident) $entry:ident) => {
        symbol! { $version $node $name $entry "r8d" "r9" "w4" "x5" }
    };
    // Six arguments: on x86-64 the seventh and eighth are on the stack.
    ($version:literal $node:literal $name:ident ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident) $entry:ident) => {
        #[cfg(target_arch = "x86_64")]
        symbol! { @ $version $name $entry
            concat!("mov rax, [rsp]\n sub rsp, 24\n .cfi_adjust_cfa_offset 24\n mov [rsp + 8], rax\n mov qword ptr [rsp], ", $node,
                    "\n call {entry}\n add rsp, 24\n .cfi_adjust_cfa_offset -24\n ret") }
        #[cfg(target_arch = "aarch64")]
        symbol! { @ $version $name $entry concat!("mov w6, #", $node, "\n mov x7, x30\n b {entry}") }
    };
    ($version:literal $node:literal $name:ident $entry:ident $x86_node:literal $x86_return:literal $arm_node:literal $arm_return:literal) => {
        #[cfg(target_arch = "x86_64")]
        symbol! { @ $version $name $entry
            concat!("mov ", $x86_node, ", ", $node, "\n mov ", $x86_return, ", [rsp]\n jmp {entry}") }
        #[cfg(target_arch = "aarch64")]
        symbol! { @ $version $name $entry
            concat!("mov ", $arm_node, ", #", $node, "\n mov ", $arm_return, ", x30\n b {entry}") }
    };
    (@ $version:literal $name:ident $entry:ident $code:expr) => {
        // Not under Miri, which has no linker.
        #[cfg(not(any(miri, target_env = "musl")))]
        std::arch::global_asm!(function!($name $version $code), entry = sym $entry);
        #[cfg(all(not(miri), target_env = "musl"))]
        std::arch::global_asm!(
            function!($name $version concat!(elsewhere!($name), $code)),
            entry = sym $entry, asks = sym crate::exports::elsewhere::ASKS, elsewhere = sym crate::exports::elsewhere::elsewhere,
        );
    };
}

/// The assembly of one function.
macro_rules! function {
    ($name:ident $version:literal $code:expr) => {
        concat!(
            ".pushsection .text.sslsweep_entries, \"ax\", %progbits\n.p2align 4\n",
            concat!(".globl \"", stringify!($name), $version, "\"\n"),
            concat!(".type \"", stringify!($name), $version, "\", %function\n"),
            concat!("\"", stringify!($name), $version, "\":\n.cfi_startproc\n"),
            $code,
            "\n.cfi_endproc\n",
            concat!(
                ".size \"",
                stringify!($name),
                $version,
                "\", . - \"",
                stringify!($name),
                $version,
                "\"\n"
            ),
            ".popsection",
        )
    };
}

/// With musl, what comes first in a function: unless all callers are served, the place to go on at is asked for, with all arguments
/// as they are ([`super::elsewhere`]).
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
macro_rules! elsewhere {
    ($name:ident) => {
        concat!(
            ".pushsection .rodata\n9: .asciz \"", stringify!($name), "\"\n.popsection\n",
            "cmp byte ptr [rip + {asks}], 0\n je 8f\n",
            "push rdi\n push rsi\n push rdx\n push rcx\n push r8\n push r9\n sub rsp, 8\n.cfi_adjust_cfa_offset 56\n",
            "lea rdi, [rip + 9b]\n mov rsi, [rsp + 56]\n call {elsewhere}\n",
            "add rsp, 8\n pop r9\n pop r8\n pop rcx\n pop rdx\n pop rsi\n pop rdi\n.cfi_adjust_cfa_offset -56\n",
            "test rax, rax\n jz 8f\n jmp rax\n8:\n",
        )
    };
}
#[cfg(all(target_env = "musl", target_arch = "aarch64"))]
macro_rules! elsewhere {
    ($name:ident) => {
        concat!(
            ".pushsection .rodata\n9: .asciz \"", stringify!($name), "\"\n.popsection\n",
            "adrp x16, {asks}\n ldrb w16, [x16, :lo12:{asks}]\n cbz w16, 8f\n",
            "stp x29, x30, [sp, #-64]!\n.cfi_adjust_cfa_offset 64\n.cfi_offset x29, -64\n.cfi_offset x30, -56\n",
            "stp x0, x1, [sp, #16]\n stp x2, x3, [sp, #32]\n stp x4, x5, [sp, #48]\n",
            "adrp x0, 9b\n add x0, x0, :lo12:9b\n mov x1, x30\n bl {elsewhere}\n mov x16, x0\n",
            "ldp x4, x5, [sp, #48]\n ldp x2, x3, [sp, #32]\n ldp x0, x1, [sp, #16]\n",
            "ldp x29, x30, [sp], #64\n.cfi_adjust_cfa_offset -64\n.cfi_restore x29\n.cfi_restore x30\n",
            "cbz x16, 8f\n br x16\n8:\n",
        )
    };
}

entries! {
    v1_1_0 flush::SSL_CTX_flush_sessions(ctx: Option<CtxRef<'_>>, tm: c_long);
    v3_4 flush::SSL_CTX_flush_sessions_ex(ctx: Option<CtxRef<'_>>, tm: libc::time_t);
    v1_1_0 context::SSL_CTX_new(method: *const SSL_METHOD) -> *mut SSL_CTX;
    v3_0 context::SSL_CTX_new_ex(library: *mut OSSL_LIB_CTX, properties: *const c_char, method: *const SSL_METHOD) -> *mut SSL_CTX;
    v1_1_0 context::SSL_CTX_ctrl(ctx: Option<CtxRef<'_>>, command: c_int, larg: c_long, parg: *mut c_void) -> c_long;
    v1_1_0 context::SSL_CTX_callback_ctrl(ctx: Option<CtxRef<'_>>, command: c_int, callback: Option<AnyCallback>) -> c_long;
    v1_1_1 context::SSL_CTX_set_client_hello_cb(ctx: Option<CtxRef<'_>>, callback: Option<ClientHelloCallback>, argument: *mut c_void);
    v1_1_0 context::SSL_CTX_set_cert_cb(ctx: Option<CtxRef<'_>>, callback: Option<CertificateCallback>, argument: *mut c_void);
    v1_1_0 connection::SSL_set_cert_cb(ssl: Option<SslRef<'_>>, callback: Option<CertificateCallback>, argument: *mut c_void);
    v3_0 context::SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx: Option<CtxRef<'_>>, callback: Option<TicketKeyCallback>) -> c_int;
    v1_1_1 context::SSL_CTX_set_session_ticket_cb(ctx: Option<CtxRef<'_>>, make: Option<TicketMaker>, read: Option<TicketReader>, argument: *mut c_void) -> c_int;
    v1_1_0 context::SSL_CTX_sess_set_new_cb(ctx: Option<CtxRef<'_>>, callback: Option<NewCallback>);
    v1_1_0 context::SSL_CTX_sess_get_new_cb(ctx: Option<CtxRef<'_>>) -> Option<NewCallback>;
    v1_1_0 context::SSL_CTX_sess_set_remove_cb(ctx: Option<CtxRef<'_>>, callback: Option<RemoveCallback>);
    v1_1_0 context::SSL_CTX_sess_get_remove_cb(ctx: Option<CtxRef<'_>>) -> Option<RemoveCallback>;
    v1_1_0 context::SSL_CTX_sess_set_get_cb(ctx: Option<CtxRef<'_>>, callback: Option<GetCallback>);
    v1_1_0 context::SSL_CTX_sess_get_get_cb(ctx: Option<CtxRef<'_>>) -> Option<GetCallback>;
    v1_1_0 context::SSL_CTX_set_generate_session_id(ctx: Option<CtxRef<'_>>, callback: Option<GenerateCallback>) -> c_int;
    v1_1_0 context::SSL_CTX_sessions(ctx: Option<CtxRef<'_>>) -> *mut LHASH;
    v1_1_0 connection::SSL_new(ctx: Option<CtxRef<'_>>) -> *mut SSL;
    v1_1_0 connection::SSL_dup(ssl: Option<SslRef<'_>>) -> *mut SSL;
    v1_1_0 connection::SSL_set_SSL_CTX(ssl: Option<SslRef<'_>>, ctx: Option<CtxRef<'_>>) -> *mut SSL_CTX;
    v1_1_0 connection::SSL_set_generate_session_id(ssl: Option<SslRef<'_>>, callback: Option<GenerateCallback>) -> c_int;
    v1_1_0 connection::SSL_has_matching_session_id(ssl: Option<SslRef<'_>>, id: *const c_uchar, length: c_uint) -> c_int;
    v1_1_0 server::SSL_accept(ssl: Option<SslRef<'_>>) -> c_int;
    v1_1_0 server::SSL_set_accept_state(ssl: Option<SslRef<'_>>);
    v1_1_1 server::SSL_read_early_data(ssl: Option<SslRef<'_>>, buffer: *mut c_void, size: usize, read: *mut usize) -> c_int;
    v1_1_1 server::SSL_stateless(ssl: Option<SslRef<'_>>) -> c_int;
    v1_1_0 server::DTLSv1_listen(ssl: Option<SslRef<'_>>, peer: *mut BIO_ADDR) -> c_int;
    v1_1_0 server::SSL_get_options(ssl: Option<SslRef<'_>>) -> c_ulong;
    v1_1_0 server::SSL_set_options(ssl: Option<SslRef<'_>>, options: c_ulong) -> c_ulong;
    v1_1_0 server::SSL_clear_options(ssl: Option<SslRef<'_>>, options: c_ulong) -> c_ulong;
    v1_1_0 session::SSL_CTX_add_session(ctx: Option<CtxRef<'_>>, session: Option<AnySession<'_>>) -> c_int;
    v1_1_0 session::SSL_CTX_remove_session(ctx: Option<CtxRef<'_>>, session: Option<AnySession<'_>>) -> c_int;
    v1_1_0 session::SSL_SESSION_set_time(session: Option<AnySession<'_>>, time: c_long) -> c_long;
    v3_3 session::SSL_SESSION_set_time_ex(session: Option<AnySession<'_>>, time: libc::time_t) -> libc::time_t;
    v1_1_0 session::SSL_SESSION_set_timeout(session: Option<AnySession<'_>>, timeout: c_long) -> c_long;
    v1_1_0 session::SSL_SESSION_set1_id(session: Option<AnySession<'_>>, id: *const c_uchar, length: c_uint) -> c_int;
    v1_1_1 session::SSL_SESSION_set_protocol_version(session: Option<AnySession<'_>>, version: c_int) -> c_int;
    v1_1_0 libcrypto::CRYPTO_get_ex_new_index(class: c_int, argl: c_long, argp: *mut c_void, new: Option<ExNew>, dup: Option<ExDup>, free: Option<ExFree>) -> c_int;
    v3_0 libcrypto::OSSL_LIB_CTX_free(library: *mut OSSL_LIB_CTX);
}
