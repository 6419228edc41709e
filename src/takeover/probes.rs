//! Probes for tracers (USDT, provider `sslsweep`): each is one instruction that does nothing until a tracer
//! replaces it, and a note in the ELF file that says where it is and where its arguments are.
//!
//! docs/operations.md lists them for those who trace. Addresses are those of the program's own objects.

use probe::probe;

use crate::libssl::types::{SSL_CTX, SSL_SESSION};

/// `store(ctx, session, expiry)`: a session was stored under a new key or in place of another one.
#[inline(always)]
pub(super) fn store(ctx: *mut SSL_CTX, session: *mut SSL_SESSION, expiry: i64) {
    probe!(sslsweep, store, ctx, session, expiry);
}

/// `evict(ctx, session)`: a session is evicted.
#[inline(always)]
pub(super) fn evict(ctx: *mut SSL_CTX, session: *mut SSL_SESSION) {
    probe!(sslsweep, evict, ctx, session);
}

/// `hit(ctx, session)`: a lookup for a handshake found a session.
#[inline(always)]
pub(super) fn hit(ctx: *mut SSL_CTX, session: *mut SSL_SESSION) {
    probe!(sslsweep, hit, ctx, session);
}

/// `miss(ctx)`: a lookup for a handshake found none.
#[inline(always)]
pub(super) fn miss(ctx: *mut SSL_CTX) {
    probe!(sslsweep, miss, ctx);
}

/// `expire(ctx, session)`: a flush removes a session.
#[inline(always)]
pub(super) fn expire(ctx: *mut SSL_CTX, session: *mut SSL_SESSION) {
    probe!(sslsweep, expire, ctx, session);
}

/// `flush__start(ctx, tm)`: a flush begins that has something to remove; `tm` is 0 for everything.
#[inline(always)]
pub(super) fn flush_start(ctx: *mut SSL_CTX, tm: i64) {
    probe!(sslsweep, flush__start, ctx, tm);
}

/// `flush__done(ctx, removed, nanoseconds)`: it has ended, with its callbacks.
#[inline(always)]
pub(super) fn flush_done(ctx: *mut SSL_CTX, removed: u64, nanoseconds: u64) {
    probe!(sslsweep, flush__done, ctx, removed, nanoseconds);
}
