//! Sessions that the program changes while they are stored: their time or timeout (C6), or what
//! their key is made of (C18).
//!
//! A session does not know where it is stored, and may be stored in several contexts (C17), so each
//! context that has ever stored one is asked. (A table from session to contexts was rejected: it
//! would cost each stored session memory for what few programs do.)

use std::sync::Arc;

use super::{Managed, registry};
use crate::libssl::{Session, SessionRef};

/// The session's time or timeout has been set: it is flushed and evicted by its new expiry.
pub(crate) fn re_expire(session: SessionRef) {
    let session = session.borrowed();
    registry::for_each_storing(|managed| {
        if managed.cache().is_empty() {
            return;
        }
        let key = managed.key(**session);
        // Should two threads set times at once, the one that reads last also stores last.
        loop {
            let expiry = session.expiry();
            let stored = managed.cache().re_expire(key, &session, expiry);
            if !stored || session.expiry() == expiry {
                break;
            }
        }
    });
}

/// Makes a `change` to the session's version or id; wherever it is stored, it is found by the new
/// key afterwards.
pub(crate) fn re_key<R>(session: SessionRef, change: impl FnOnce() -> R) -> R {
    let borrowed = session.borrowed();
    let mut holders: Vec<(Arc<Managed>, Session)> = Vec::new();
    registry::for_each_storing(|managed| {
        if managed.cache().is_empty() {
            return;
        }
        if let Some(taken) = managed.cache().take_exactly(managed.key(**borrowed), &borrowed) {
            holders.push((Arc::clone(managed), taken));
        }
    });
    let result = change();
    for (managed, taken) in holders {
        managed.put_back(taken);
    }
    result
}
