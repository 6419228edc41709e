//! Sessions that the connections of a context exchange with other contexts and processes, if the operator wants that
//! ([`crate::sharing`]).

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use super::connections::{self, Connection};
use super::context::Context;
use super::registry;
use crate::libssl::types::{ServernameCallback, SslRef};
use crate::libssl::{Libssl, Session, SessionRef, by_index};
use crate::sharing::{Publication, Questions, Resumed};

/// Publishes a session that a handshake of this connection has made and the context has stored.
///
/// Last, after the program's callback: it may have removed the session. One that is to be used but once exists but once: not
/// locally as well. One whose origin was revoked during the handshake is not to exist.
pub(super) fn publish(context: &Context, ssl: SslRef<'_>, session: SessionRef<'_>) {
    let Some(sharing) = context.sharing() else { return };
    // (A TLS 1.2 session for which the client has got a ticket has no id: nobody will ask for it.)
    if session.id().is_empty() {
        return;
    }
    let single_use = Connection::new(context, ssl).refuses_replays();
    let resumed = connections::resumed(context.libssl, ssl);
    let current = (context.api.SSL_get_SSL_CTX)(ssl).and_then(registry::find);
    let current = current.as_ref().and_then(|current| current.sharing());
    match sharing.publish(current, ssl, session, single_use, resumed.as_ref()) {
        Publication::Published if single_use => drop(context.take_stored(session)),
        Publication::Revoked => drop(context.take_stored(session)),
        Publication::Published | Publication::Not => {}
    }
}

/// A session that somebody else has published, for a connection whose hello is being read.
pub(super) fn fetch(
    context: &Context,
    ssl: SslRef<'_>,
    id: &[u8],
    single_use: bool,
) -> Option<Session> {
    let sharing = context.sharing()?;
    // The servername callback would be that of another context, before the hello.
    let is_original = (context.api.SSL_get_SSL_CTX)(ssl) == Some(context.ctx());
    let fetched =
        is_original.then(|| sharing.fetch(context.libssl, ssl, id, single_use, questions));
    let fetched = fetched.flatten();
    let (session, resumed) = fetched.unzip();
    connections::note_resumed(context.libssl, ssl, resumed);
    // Out of memory nothing is noted, and nobody would confirm the session.
    session.filter(|_| connections::resumed(context.libssl, ssl) == resumed)
}

/// See [`sslsweep_share_table::QuestionsOf`].
unsafe extern "C" fn questions(libssl: usize, ssl: *mut c_void) -> *mut Questions {
    // SAFETY: the share library passes on the connection, of this libssl, that it was called for.
    let ssl = unsafe { SslRef::new(ssl.cast()) };
    let (Some(libssl), Some(ssl)) = (by_index(libssl), ssl) else { return ptr::null_mut() };
    connections::questions(libssl, ssl)
}

/// Removes the context's own session with this id if somebody else has removed it: S3 holds for all who have it.
pub(super) fn remove_gone(context: &Arc<Context>, ssl: SslRef<'_>, version: c_int, id: &[u8]) {
    let Some(sharing) = context.sharing() else { return };
    let own = context.stored(version, id);
    if own.is_some_and(|own| sharing.is_gone(ssl, own.get())) {
        // A callback of the program's runs.
        Arc::clone(context).remove_by_id(version, id);
    }
}

/// The connection resumes a session of the context's own.
pub(super) fn found(context: &Context, ssl: SslRef<'_>, session: &Session) {
    let Some(sharing) = context.sharing() else { return };
    // The tickets of TLS 1.3 that follow it are new sessions. (Else what a former handshake of the connection has noted goes.)
    let is_tls13 = Connection::new(context, ssl).is_tls13();
    let resumed = is_tls13.then(|| sharing.found(session));
    connections::note_resumed(context.libssl, ssl, resumed);
}

/// The program's servername callback that libssl has called ours for: that of the connection's present context, or else that
/// of the one that it began with.
pub(super) fn servername(libssl: &Libssl, ssl: SslRef<'_>) -> Option<ServernameCallback> {
    let current = libssl.api.as_ref().and_then(|api| (api.SSL_get_SSL_CTX)(ssl));
    let current = current.and_then(registry::find).and_then(|context| context.servername.get());
    current.or_else(|| connections::session_context(libssl, ssl)?.servername.get())
}

/// The session that was fetched for this connection, and is to be confirmed after the servername callback.
pub(super) fn to_confirm(libssl: &Libssl, ssl: SslRef<'_>) -> Option<Resumed> {
    connections::resumed(libssl, ssl).filter(|resumed| resumed.fetched)
}

/// Returns whether the connection may go on after the servername callback: not if it resumes a session that was fetched, and its
/// trust is no longer that of the session.
pub(super) fn confirm(libssl: &'static Libssl, ssl: SslRef<'_>, resumed: &Resumed) -> bool {
    let original = connections::session_context(libssl, ssl);
    let Some(sharing) = original.as_ref().and_then(|context| context.sharing()) else {
        // Out of memory the switch to a context that is not taken over was not noted.
        return false;
    };
    let current = libssl.api.as_ref().and_then(|api| (api.SSL_get_SSL_CTX)(ssl));
    let current = current.and_then(registry::find);
    let current = current.as_ref().and_then(|current| current.sharing());
    sharing.confirm(current, ssl, resumed)
}
