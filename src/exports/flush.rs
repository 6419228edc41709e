//! The headline pair. `header.rs` documents it.
#![allow(non_snake_case, reason = "OpenSSL's names")]

use std::ffi::c_long;

use super::{Real, for_other, taken_over};
use crate::cache::Cutoff;
use crate::libssl::types::CtxRef;
use crate::stack::here;
use crate::takeover::context::Budget;

/// SSL_CTX_flush_sessions_ex(3).
pub(super) fn SSL_CTX_flush_sessions_ex(
    real: Real<'_, ()>,
    ctx: Option<CtxRef<'_>>,
    tm: libc::time_t,
) {
    let Some(context) = taken_over(ctx) else { return for_other(real, ctx) };
    let variable = 0u8;
    context.flush_for_caller(Cutoff::at(tm), Budget::default(), here(&variable));
    context.obey();
}

/// SSL_CTX_flush_sessions(3).
pub(super) fn SSL_CTX_flush_sessions(real: Real<'_, ()>, ctx: Option<CtxRef<'_>>, tm: c_long) {
    SSL_CTX_flush_sessions_ex(real, ctx, tm);
}
