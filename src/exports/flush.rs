//! The headline pair.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::c_long;

use super::{managed, real_for_context};
use crate::cache::Cutoff;
use crate::libssl::Node;
use crate::libssl::types::ssl_ctx_st;
use crate::takeover::ending::may_have_ended;
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
pub(super) unsafe fn SSL_CTX_flush_sessions_ex(
    caller: Node,
    ctx: *mut ssl_ctx_st,
    tm: libc::time_t,
) {
    if ctx.is_null() {
        return;
    }
    if let Some(managed) = managed(ctx) {
        managed.take_in();
        if tm != 0 {
            return flush(&managed, Cutoff::Before(tm));
        }
        flush(&managed, Cutoff::All);
        return may_have_ended(&managed);
    }
    if let Some(flush_ex) = real_for_context(caller, ctx, |behind| behind.SSL_CTX_flush_sessions_ex)
    {
        // SAFETY: the caller's own argument.
        unsafe { flush_ex(ctx, tm) };
    } else if let Some(flush) =
        real_for_context(caller, ctx, |behind| behind.SSL_CTX_flush_sessions)
    {
        // SAFETY: as above.
        unsafe { flush(ctx, tm.clamp(c_long::MIN, c_long::MAX)) };
    }
}

/// SSL_CTX_flush_sessions() is SSL_CTX_flush_sessions_ex() with `tm` widened to a `time_t`.
///
/// Deprecated since OpenSSL 3.4: a `long` of 32 bits ends in 2038.
#[cfg(not(sslsweep_no_deprecated))]
#[deprecated = "Since OpenSSL 3.4; use SSL_CTX_flush_sessions_ex()"]
pub(super) unsafe fn SSL_CTX_flush_sessions(caller: Node, ctx: *mut ssl_ctx_st, tm: c_long) {
    // SAFETY: the caller's own promise.
    unsafe { SSL_CTX_flush_sessions_ex(caller, ctx, tm) };
}
