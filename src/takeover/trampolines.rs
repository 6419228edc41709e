//! What libssl calls: our own new, get and remove callbacks, and the session id generator.

use std::ffi::{c_int, c_uchar, c_uint};
use std::sync::Arc;

use super::callback::Callback;
use super::connections::{self, Connection};
use super::managed::Managed;
use super::running::{self, Call};
use super::{ending, find, planted};
use crate::cache::Cutoff;
use crate::libssl::types::*;
use crate::libssl::{
    Libssl, MOST, Session, SessionRef, by_index, is_inside, of_each_libssl, program,
};
use crate::{options, time};

// The connection's functions do not know whose connection it is.
static NEW: [NewCallback; MOST] = of_each_libssl!(new_session);
static GET: [GetCallback; MOST] = of_each_libssl!(get_session);
static GENERATE: [GenerateCallback; MOST] = of_each_libssl!(generate_session_id);

/// The callbacks that a context of this libssl gets.
pub(super) fn of(libssl: &Libssl) -> (NewCallback, GetCallback, RemoveCallback) {
    (NEW[libssl.index], GET[libssl.index], remove_session)
}

/// What a libssl gets for the program's generator: ours, or none.
pub(crate) fn generator_for(
    libssl: &Libssl,
    own: Option<GenerateCallback>,
) -> Option<GenerateCallback> {
    own.map(|_| GENERATE[libssl.index])
}

/// The context whose cache a connection uses that this libssl calls about.
fn session_context<const INDEX: usize>(ssl: *const SSL) -> Option<Arc<Managed>> {
    connections::session_context(by_index(INDEX)?, ssl)
}

/// A handshake has made a session. (Also after a TLS 1.3 handshake that resumed one: each ticket.)
///
/// libssl has raised the reference count for the program, which keeps the reference by returning 1.
unsafe extern "C-unwind" fn new_session<const INDEX: usize>(
    ssl: *mut SSL,
    session: *mut SSL_SESSION,
) -> c_int {
    let Some(managed) = session_context::<INDEX>(ssl) else { return 0 };
    planted::reap(&managed);
    // SAFETY: libssl holds the session during the call.
    let borrowed = unsafe { SessionRef::new(managed.libssl(), session) };
    let Some(borrowed) = borrowed else { return 0 };
    let call = Call::new(&managed, ssl);
    if let Some(new) = chained(call, &managed.new) {
        // SAFETY: the program's own callback, with what libssl gave us.
        return new.map_or(0, |new| call.run(|| unsafe { new(ssl, session) }));
    }
    managed.publish_view();
    if is_to_be_stored(&managed, ssl) {
        managed.add(borrowed);
    }
    let kept = match managed.new_callback() {
        // SAFETY: the program's own callback, with what libssl gave us.
        Some(new) => call.run(|| unsafe { new(ssl, session) }),
        None => 0,
    };
    auto_flush(&managed);
    managed.obey();
    kept
}

/// Whether our callback is called by the program's, which has taken its place past us and so called what it
/// found there. Then it does nothing but stand for what was replaced, if anything was.
fn chained<F: Copy>(call: Call, callback: &Callback<F>) -> Option<Option<F>> {
    match running::count(|| call) {
        0 => None,
        1 => Some(callback.replaced()),
        _ => Some(None),
    }
}

/// After every so many sessions (C8), or some of what is due after each. Not while a session that the caller
/// is about is in the cache and has not been looked at by libssl: it may have expired, and libssl then calls
/// back for it once more.
fn auto_flush(managed: &Arc<Managed>) {
    if options::get().incremental {
        managed.flush_with_store();
    } else if managed.flush_is_due() {
        super::flush::flush(managed, Cutoff::Before(time::now()));
    }
}

/// Which sessions are stored internally: C11, and ssl_update_cache in OpenSSL's ssl_lib.c.
fn is_to_be_stored(managed: &Managed, ssl: *mut SSL) -> bool {
    let connection = Connection::new(managed, ssl);
    managed.lacks(SSL_SESS_CACHE_NO_INTERNAL_STORE)
        && (!connection.is_tls13()
            || !connection.is_server()
            || connection.refuses_replays()
            // The program's callback, not ours, which is always there.
            || managed.remove_callback().is_some()
            || connection.has_option(SSL_OP_NO_TICKET))
}

/// A client wants to resume the session with this id.
unsafe extern "C-unwind" fn get_session<const INDEX: usize>(
    ssl: *mut SSL,
    id: *const c_uchar,
    length: c_int,
    copy: *mut c_int,
) -> *mut SSL_SESSION {
    let managed =
        by_index(INDEX).and_then(|libssl| connections::session_context_borrowed(libssl, ssl));
    let Some(managed) = managed else { return std::ptr::null_mut() };
    let call = Call::get(&managed, ssl);
    if let Some(get) = chained(call, &managed.get) {
        let managed = Arc::clone(&managed);
        // SAFETY: the program's own callback, with what we were given.
        let run = |get: GetCallback| call.run(|| unsafe { get(ssl, id, length, copy) });
        let found = get.map_or(std::ptr::null_mut(), run);
        drop(managed);
        return found;
    }
    planted::reap(&managed);
    managed.obey();
    let Ok(length) = usize::try_from(length) else { return std::ptr::null_mut() };
    // SAFETY: libssl passes an id of this length.
    let bytes = unsafe { std::slice::from_raw_parts(id, length) };
    let connection = Connection::new(&managed, ssl);

    if managed.lacks(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) {
        let version = connection.version();
        let found = if connection.refuses_replays() {
            // Taken out, so that of racing replays one gets it.
            let Some(_claim) = planted::claim(&managed, managed.key_of(version, bytes)) else {
                return std::ptr::null_mut();
            };
            managed.take(version, bytes).inspect(|session| planted::plant(&managed, session))
        } else {
            managed.lookup(version, bytes)
        };
        if let Some(session) = found {
            return hand_over(session, copy);
        }
    }

    // From here on callbacks run.
    let managed = Arc::clone(&managed);
    let Some(get) = managed.get_callback() else { return std::ptr::null_mut() };
    // SAFETY: the program's own callback, with what libssl gave us.
    let session = call.run(|| unsafe { get(ssl, id, length as c_int, copy) });
    // SAFETY: `copy` is libssl's variable.
    let owned = match unsafe { *copy } {
        // The program keeps its reference and wants libssl to take one of its own.
        1.. | ..0 => {
            // SAFETY: the program has just returned the session, so it is alive.
            unsafe { SessionRef::new(managed.libssl(), session) }.and_then(SessionRef::retain)
        }
        // SAFETY: as above, and the program gives its reference away.
        0 => unsafe { Session::adopt(managed.libssl(), session) },
    };
    let looked_up = managed.lacks(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
    let Some(session) = owned else {
        if !looked_up {
            managed.note_external_miss();
        }
        return std::ptr::null_mut();
    };
    if managed.accepts(*session) {
        managed.note_external_hit();
        let stores = managed.lacks(SSL_SESS_CACHE_NO_INTERNAL_STORE);
        if connection.refuses_replays() {
            let Some(_claim) = planted::claim(&managed, managed.key(*session)) else {
                return std::ptr::null_mut();
            };
            if stores {
                planted::plant(&managed, &session);
            } else {
                // The program may have stored it itself.
                planted::plant_if_stored(&managed, *session);
            }
        } else if stores {
            auto_flush(&managed);
            managed.add(*session);
        }
    } else if !looked_up {
        managed.note_external_miss();
    }
    hand_over(session, copy)
}

/// Gives libssl our reference.
fn hand_over(session: Session, copy: *mut c_int) -> *mut SSL_SESSION {
    // SAFETY: `copy` is libssl's variable.
    unsafe { *copy = 0 };
    session.into_raw()
}

/// libssl has removed a session, or looked for it in its own empty cache, and marked it not resumable.
unsafe extern "C-unwind" fn remove_session(ctx: *mut SSL_CTX, session: *mut SSL_SESSION) {
    // Our own removal, made to mark a session.
    if is_inside() {
        return;
    }
    let Some(managed) = find(ctx) else { return };
    // SAFETY: libssl holds the session during the call.
    let session = unsafe { SessionRef::new(managed.libssl(), session) };
    let Some(session) = session else { return };
    if ending::handle_own(&managed, session) {
        return;
    }
    if managed.is_removing(session) {
        managed.call_replaced_remove(session);
    } else if managed.is_ending() {
        managed.leave_later(session);
    } else {
        managed.removed_by_libssl(session);
    }
}

/// A server needs an id for a new session, and the program has a generator of its own.
///
/// libssl then checks the id against its own internal cache, where a session with this id has to be
/// if we store one.
unsafe extern "C-unwind" fn generate_session_id<const INDEX: usize>(
    ssl: *mut SSL,
    id: *mut c_uchar,
    length: *mut c_uint,
) -> c_int {
    let managed = session_context::<INDEX>(ssl);
    managed.iter().for_each(planted::reap);
    let own = by_index(INDEX).and_then(|libssl| connections::generator(libssl, ssl));
    // A connection that a QUIC listener has made is noted nowhere.
    let Some(generate) = own.or_else(|| managed.as_ref()?.inherited_generator()) else {
        return 0;
    };
    // SAFETY: the program's own callback, with what libssl gave us.
    let made = program(|| unsafe { generate(ssl, id, length) });
    if let Some(managed) = managed.filter(|_| made != 0) {
        // SAFETY: libssl's variable.
        let length = unsafe { *length } as usize;
        if (1..=SSL_MAX_SSL_SESSION_ID_LENGTH).contains(&length) {
            // SAFETY: libssl's array of at least 32 bytes.
            let id = unsafe { std::slice::from_raw_parts(id, length) };
            let version = Connection::new(&managed, ssl).version();
            if managed.has(version, id) {
                planted::plant_conflict(&managed, version, id);
            }
        }
    }
    made
}
