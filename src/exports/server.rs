//! Functions that make an `SSL` a server's, and its options: a server's tickets may be stateful (S11).
//!
//! With `SSLSWEEP_TICKETS=program`, the default, each is the real function after a look at a static. No other
//! function begins a server: a handshake by SSL_do_handshake(3), SSL_read(3) and the like fails before one of
//! these, also with a method for servers alone. BIO_new_ssl(3) reaches SSL_set_accept_state() on a libssl whose calls go through
//! the PLT; on any other its connections keep the program's tickets.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::{c_int, c_ulong, c_void};

use super::{Failure, Real};
use crate::libssl::Libssl;
use crate::libssl::types::*;
use crate::takeover::{servers, tickets};

/// What SSL_accept() and SSL_stateless() return for NULL, since 3.2: it crashes earlier ones.
const NONE: c_int = 0;

/// The caller's libssl, if connections may have stateful tickets.
#[inline]
fn libssl_if_wanted<R: Failure>(real: &Real<'_, R>) -> Option<&'static Libssl> {
    if tickets::are_wanted() { real.libssl() } else { None }
}

/// Calls a function that begins a server's handshake.
fn begin(real: Real<'_, c_int>, ssl: Option<SslRef<'_>>, failure: c_int) -> c_int {
    let Some(ssl) = ssl else { return failure };
    let Some(libssl) = libssl_if_wanted(&real) else { return real.call() };
    servers::begins(libssl, ssl);
    real.call_of(libssl)
}

/// SSL_accept(3). With `SSLSWEEP_TICKETS=stateful` tickets name sessions in the cache (S11).
pub(super) fn SSL_accept(real: Real<'_, c_int>, ssl: Option<SslRef<'_>>) -> c_int {
    begin(real, ssl, NONE)
}

/// SSL_read_early_data(3). Begins a server's handshake as SSL_accept() does (S11).
pub(super) fn SSL_read_early_data(
    real: Real<'_, c_int>,
    ssl: Option<SslRef<'_>>,
    _buffer: *mut c_void,
    _size: usize,
    _read: *mut usize,
) -> c_int {
    const SSL_READ_EARLY_DATA_ERROR: c_int = 0;
    begin(real, ssl, SSL_READ_EARLY_DATA_ERROR)
}

/// SSL_stateless(3). Begins a server's handshake as SSL_accept() does (S11).
pub(super) fn SSL_stateless(real: Real<'_, c_int>, ssl: Option<SslRef<'_>>) -> c_int {
    begin(real, ssl, NONE)
}

/// DTLSv1_listen(3). Begins a server's handshake as SSL_accept() does (S11).
pub(super) fn DTLSv1_listen(
    real: Real<'_, c_int>,
    ssl: Option<SslRef<'_>>,
    _peer: *mut BIO_ADDR,
) -> c_int {
    const FATAL: c_int = -1;
    begin(real, ssl, FATAL)
}

/// SSL_set_accept_state(3). With `SSLSWEEP_TICKETS=stateful` tickets name sessions in the cache (S11).
pub(super) fn SSL_set_accept_state(real: Real<'_, ()>, ssl: Option<SslRef<'_>>) {
    let Some(ssl) = ssl else { return };
    let Some(libssl) = libssl_if_wanted(&real) else { return real.call() };
    // Afterwards: an SSL that was a client's is a server's only now.
    real.call_of(libssl);
    servers::begins(libssl, ssl);
}

/// SSL_get_options(3): without the option that makes the tickets stateful, unless the program has set it.
pub(super) fn SSL_get_options(real: Real<'_, c_ulong>, ssl: Option<SslRef<'_>>) -> c_ulong {
    let Some(ssl) = ssl else { return c_ulong::FAILURE };
    let Some(libssl) = libssl_if_wanted(&real) else { return real.call() };
    servers::visible(libssl, ssl, real.call_of(libssl))
}

/// SSL_set_options(3). `SSL_OP_NO_TICKET` is the program's own from now on.
pub(super) fn SSL_set_options(
    real: Real<'_, c_ulong>,
    ssl: Option<SslRef<'_>>,
    options: c_ulong,
) -> c_ulong {
    let Some(ssl) = ssl else { return c_ulong::FAILURE };
    let Some(libssl) = libssl_if_wanted(&real) else { return real.call() };
    let result = real.call_of(libssl);
    servers::set(libssl, ssl, options);
    servers::visible(libssl, ssl, result)
}

/// SSL_clear_options(3). A connection whose `SSL_OP_NO_TICKET` is cleared has the program's tickets.
pub(super) fn SSL_clear_options(
    real: Real<'_, c_ulong>,
    ssl: Option<SslRef<'_>>,
    options: c_ulong,
) -> c_ulong {
    let Some(ssl) = ssl else { return c_ulong::FAILURE };
    let Some(libssl) = libssl_if_wanted(&real) else { return real.call() };
    let result = real.call_of(libssl);
    servers::cleared(libssl, ssl, options);
    servers::visible(libssl, ssl, result)
}
