//! The headline pair.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::c_long;

use super::{RealFn, for_unmanaged, managed};
use crate::cache::Cutoff;
use crate::libssl::CtxRef;
use crate::takeover::ending::{may_have_ended, publish_if_ending};
use crate::takeover::flush::flush;

/// SSL_CTX_flush_sessions_ex() removes the sessions that have expired at the time `tm` from the
/// internal session cache of `ctx`.
///
/// @param ctx  The context, alive; NULL does nothing. A context that sslsweep does not manage is flushed by
///             the real libssl: by its own SSL_CTX_flush_sessions_ex() (3.4 and later), else by its
///             SSL_CTX_flush_sessions(), with `tm` clamped to what a `long` holds.
/// @param tm   Seconds since the epoch. Sessions with time + timeout < `tm` are removed; 0 removes
///             all. Every other value is taken literally: a negative one removes nothing, and a huge
///             one removes all but sessions that never expire (time + timeout overflows).
///
/// For each removed session, earliest expiry first and first stored first among equals, the remove
/// callback runs once, when the session has left the cache and is marked not resumable; then the
/// cache's reference is dropped.
///
/// No lock is held while a callback runs: it may call any function of OpenSSL on `ctx`, also this
/// one, store the session again, or free the last reference to `ctx`. Other threads may use `ctx`
/// meanwhile and wait for no longer than one batch of a few dozen sessions takes to unlink.
///
/// Nothing is returned and no error is raised. See SSL_CTX_flush_sessions(3). It differs from
/// OpenSSL in callbacks without locks (OpenSSL 1.1.1 to 3.6 hold one), in the order (OpenSSL's
/// depends on the version), in NULL (OpenSSL crashes), and in times that OpenSSL wraps (negative and
/// huge ones).
pub(super) fn SSL_CTX_flush_sessions_ex(
    real: impl RealFn<()>,
    ctx: Option<CtxRef<'_>>,
    tm: libc::time_t,
) {
    let Some(managed) = managed(ctx) else { return for_unmanaged(real, ctx) };
    managed.take_in();
    if tm == 0 {
        publish_if_ending(&managed);
        flush(&managed, Cutoff::All);
        may_have_ended(&managed);
    } else {
        flush(&managed, Cutoff::Before(tm));
    }
    managed.obey();
}

/// SSL_CTX_flush_sessions() is SSL_CTX_flush_sessions_ex() with `tm` widened to a `time_t`.
///
/// Deprecated since OpenSSL 3.4: a `long` of 32 bits ends in 2038.
#[cfg(not(sslsweep_no_deprecated))]
#[deprecated = "Since OpenSSL 3.4; use SSL_CTX_flush_sessions_ex()"]
pub(super) fn SSL_CTX_flush_sessions(real: impl RealFn<()>, ctx: Option<CtxRef<'_>>, tm: c_long) {
    SSL_CTX_flush_sessions_ex(real, ctx, tm);
}
