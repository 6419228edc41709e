//! Sessions that the program changes while they are stored: their time or timeout (C6), or what
//! their key is made of (C18).
//!
//! A session does not know where it is stored, and may be stored in several contexts (C17), so each
//! context that stores sessions is asked; none if the session is stored nowhere ([`super::stored`]).

use super::registry::for_each_storing;
use super::stored::is_stored;
use crate::guard::guard;
use crate::libssl::SessionRef;
use crate::libssl::types::SSL_MAX_SSL_SESSION_ID_LENGTH;

/// The session's time or timeout has been set: it is flushed and evicted by its new expiry.
#[inline]
pub(crate) fn re_expire(session: SessionRef) {
    if is_stored(session) {
        re_expire_everywhere(session);
    }
}

fn re_expire_everywhere(session: SessionRef) {
    let owned = session.borrowed();
    for_each_storing(|managed| {
        let by_object = session.id().is_empty().then(|| managed.key_of_object(session));
        for key in [Some(managed.key(session)), by_object].into_iter().flatten() {
            // Should two threads set times at once, the one that reads last also stores last.
            loop {
                let expiry = session.expiry();
                let stored = guard(false, || managed.cache().re_expire(key, &owned, expiry));
                if stored {
                    managed.publish_change();
                }
                if !stored || session.expiry() == expiry {
                    break;
                }
            }
        }
    });
}

/// Makes a `change` to the session's version or id; wherever it is stored, it is found by the new
/// key afterwards. A session that was stored under that key leaves without a callback, as when one
/// is stored in its place.
///
/// A session that loses its id is found by what it is, or all such sessions would have one key.
pub(crate) fn re_key<R>(session: SessionRef, change: impl FnOnce() -> R) -> R {
    let version = session.version();
    let mut id = [0; SSL_MAX_SSL_SESSION_ID_LENGTH];
    let length = session.id().len();
    id[..length].copy_from_slice(session.id());

    let result = change();

    if !is_stored(session) {
        return result;
    }
    let owned = session.borrowed();
    for_each_storing(|managed| {
        let by_object = managed.key_of_object(session);
        let new = if session.id().is_empty() { by_object } else { managed.key(session) };
        for old in [managed.key_of(version, &id[..length]), by_object] {
            drop(guard(None, || managed.cache().re_key(old, new, &owned)));
        }
    });
    result
}
