//! The headline pair as the header documents it. cbindgen alone reads this file, as it cannot look into the macro that makes
//! the symbols (`entries.rs`); what they do is in `flush.rs`.

/// SSL_CTX_flush_sessions_ex() removes the sessions that have expired at the time `tm` from the
/// internal session cache of `ctx`.
///
/// @param ctx  The context, alive; NULL does nothing. The real libssl flushes a context that sslsweep does not
///             manage: by its own SSL_CTX_flush_sessions_ex() (3.4 and later), else by its
///             SSL_CTX_flush_sessions(), with `tm` clamped to the range of a `long`.
/// @param tm   Seconds since the epoch. Sessions with time + timeout < `tm` are removed; 0 removes
///             all. Every other value is taken literally: a negative one removes nothing, and a huge
///             one removes all but sessions that never expire (time + timeout overflows).
///
/// Sessions leave in the order of their expiry, those of the same second in the order in which they
/// were stored. For each one the remove callback runs once, when the session has left the cache and is
/// marked not resumable; then the cache's reference is dropped.
///
/// No lock is held while a callback runs. The callback may call any function of OpenSSL on `ctx`,
/// including this one, store the session again, or free the last reference to `ctx`. Other threads may
/// use `ctx` meanwhile, and wait for at most one batch of a few dozen sessions.
///
/// The function returns nothing and raises no error. See SSL_CTX_flush_sessions(3). Differences from
/// OpenSSL: callbacks run without a lock (OpenSSL 1.1.1 to 3.6.3 hold one); the order does not depend on
/// the version; NULL does not crash; negative and huge times do not wrap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_flush_sessions_ex(ctx: *mut ssl_ctx_st, tm: libc::time_t) {}

/// SSL_CTX_flush_sessions() is SSL_CTX_flush_sessions_ex() with `tm` widened to a `time_t`.
///
/// Deprecated since OpenSSL 3.4: a `long` of 32 bits ends in 2038.
#[cfg(not(sslsweep_no_deprecated))]
#[deprecated = "Since OpenSSL 3.4; use SSL_CTX_flush_sessions_ex()"]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn SSL_CTX_flush_sessions(ctx: *mut ssl_ctx_st, tm: c_long) {}
