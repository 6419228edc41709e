//! The callbacks that libssl calls: our own new, get and remove callbacks, and the session id generator.

use std::ffi::{c_int, c_uchar, c_uint, c_void};
use std::sync::Arc;

use super::connections::{self, Connection};
use super::context::{Call, Context, Held, Trampolines, count};
use super::{exchange, lifetime, registry, sessions};
use crate::libssl::types::*;
use crate::libssl::{
    Libssl, MAX_LIBSSL, Session, SessionRef, by_index, call_program, is_in_libssl, of_each_libssl,
};
use crate::sharing;

// The connection's functions do not know whose connection it is.
static NEW: [NewCallback; MAX_LIBSSL] = of_each_libssl!(new_session);
static GET: [GetCallback; MAX_LIBSSL] = of_each_libssl!(get_session);
static GENERATE: [GenerateCallback; MAX_LIBSSL] = of_each_libssl!(generate_session_id);
static MAKE_ID: [GenerateCallback; MAX_LIBSSL] = of_each_libssl!(make_session_id);
static SERVERNAME: [ServernameCallback; MAX_LIBSSL] = of_each_libssl!(choose_server);

/// The callbacks that a context of this libssl gets.
pub(crate) fn of(libssl: &Libssl) -> Trampolines {
    Trampolines { new: NEW[libssl.index], get: GET[libssl.index], remove: remove_session }
}

/// The generator that a libssl gets for the program's: ours. For none it gets none, or that of the share library's ids.
pub(crate) fn generator_for(
    libssl: &Libssl,
    own: Option<GenerateCallback>,
    makes_ids: bool,
) -> Option<GenerateCallback> {
    match own {
        Some(_) => Some(GENERATE[libssl.index]),
        None => makes_ids.then(|| MAKE_ID[libssl.index]),
    }
}

/// The servername callback that a libssl gets for the program's: ours, or none.
pub(crate) fn servername_for(
    libssl: &Libssl,
    own: Option<ServernameCallback>,
) -> Option<ServernameCallback> {
    own.map(|_| SERVERNAME[libssl.index])
}

/// The context whose cache a connection uses that this libssl calls about.
fn session_context<const INDEX: usize>(ssl: SslRef<'_>) -> Option<Arc<Context>> {
    connections::session_context(by_index(INDEX)?, ssl)
}

/// A handshake has made a session. (Also after a TLS 1.3 handshake that resumed one: each ticket.)
///
/// libssl has raised the reference count for the program, which keeps the reference by returning 1.
extern "C-unwind" fn new_session<const INDEX: usize>(
    ssl: SslRef<'_>,
    session: AnySession<'_>,
) -> c_int {
    let Some(context) = session_context::<INDEX>(ssl).map(Held::from) else { return 0 };
    context.reap();
    let Some(borrowed) = SessionRef::of(context.libssl, session) else { return 0 };
    let call = Call::new(&context, ssl);
    if let Some(new) = chained(call, || context.new.replaced()) {
        return new.map_or(0, |new| call.run(|| new(ssl, session)));
    }
    context.publish_view();
    let stored = is_to_be_stored(&context, ssl);
    if stored {
        sessions::add(&context, borrowed);
    }
    let kept = context.new.get().map_or(0, |new| call.run(|| new(ssl, session)));
    if stored {
        exchange::publish(&context, ssl, borrowed);
    }
    context.auto_flush();
    context.obey();
    kept
}

/// Returns what our callback is to do if it is called by the program's, which has taken its place past us and so called what
/// it found there: nothing but to stand for what was replaced, if anything was.
fn chained<F: Copy>(call: Call, replaced: impl FnOnce() -> Option<F>) -> Option<Option<F>> {
    match count(|| call) {
        0 => None,
        1 => Some(replaced()),
        _ => Some(None),
    }
}

/// Returns whether a session is stored internally: C11, and ssl_update_cache in OpenSSL's ssl_lib.c.
fn is_to_be_stored(context: &Context, ssl: SslRef<'_>) -> bool {
    let connection = Connection::new(context, ssl);
    context.lacks(SSL_SESS_CACHE_NO_INTERNAL_STORE)
        && (!connection.is_tls13()
            || !connection.is_server()
            || connection.refuses_replays()
            // The program's callback, not ours, which is always there.
            || context.remove.get().is_some()
            || connection.has_option(SSL_OP_NO_TICKET))
}

/// A client wants to resume the session with this id.
///
/// # Safety
///
/// libssl passes an id of this length.
unsafe extern "C-unwind" fn get_session<const INDEX: usize>(
    ssl: SslRef<'_>,
    id: *const c_uchar,
    length: c_int,
    copy: &mut c_int,
) -> *mut SSL_SESSION {
    let null = std::ptr::null_mut();
    let borrowed =
        by_index(INDEX).and_then(|libssl| connections::session_context_borrowed(libssl, ssl));
    let Some(context) = borrowed else { return null };
    let call = Call::get(&context, ssl);
    // SAFETY: the program's own callback, with what we were given.
    let run = |get: GetCallback, copy| call.run(|| unsafe { get(ssl, id, length, copy) });
    if let Some(get) = chained(call, || context.get.replaced()) {
        let context = Arc::clone(&context);
        let found = get.map_or(null, |get| run(get, copy));
        drop(context);
        return found;
    }
    context.reap();
    context.obey();
    let Ok(size) = usize::try_from(length) else { return null };
    // SAFETY: as promised by libssl.
    let bytes = unsafe { std::slice::from_raw_parts(id, size) };
    // Our reference is libssl's from then on.
    let hand_over = |session: Session, copy: &mut c_int| {
        *copy = 0;
        session.into_raw()
    };
    match find_internal(&context, ssl, bytes) {
        Internal::Found(session) => return hand_over(session, copy),
        Internal::Refused => return null,
        Internal::Absent => {}
    }

    // From here on callbacks run.
    let context = Arc::clone(&context);
    let Some(get) = context.get.get() else { return null };
    let session = run(get, copy);
    let owned = match *copy {
        // The program keeps its reference and wants libssl to take one of its own.
        1.. | ..0 => {
            // SAFETY: the program has just returned the session, so it is alive.
            let session = unsafe { AnySession::new(session) };
            session
                .and_then(|session| SessionRef::of(context.libssl, session))
                .and_then(SessionRef::retain)
        }
        // SAFETY: as above, and the program gives its reference away.
        0 => unsafe { Session::adopt(context.libssl, session) },
    };
    match owned {
        Some(session) if take_external(&context, ssl, &session) => hand_over(session, copy),
        Some(_) => null,
        None => {
            note_external_miss(&context);
            null
        }
    }
}

/// The answer of the internal cache to a connection.
enum Internal {
    Found(Session),
    Absent,
    /// Another connection with this ticket is served.
    Refused,
}

fn find_internal(context: &Arc<Context>, ssl: SslRef<'_>, id: &[u8]) -> Internal {
    if !context.lacks(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) {
        return Internal::Absent;
    }
    let connection = Connection::new(context, ssl);
    let version = connection.version();
    exchange::remove_gone(context, ssl, version, id);
    let found = if connection.refuses_replays() {
        // Taken out, so that of racing replays one gets it.
        let Some(_claim) = context.claim(context.key_of(version, id)) else {
            return Internal::Refused;
        };
        let own = context.take(version, id).inspect(|session| context.plant(session));
        own.inspect(|session| exchange::found(context, ssl, session)).or_else(|| {
            let fetched = exchange::fetch(context, ssl, id, true);
            fetched.inspect(|_| context.plant_taken(version, id))
        })
    } else {
        let own = context.lookup(version, id);
        own.inspect(|session| exchange::found(context, ssl, session))
            .or_else(|| exchange::fetch(context, ssl, id, false))
    };
    found.map_or(Internal::Absent, Internal::Found)
}

/// The hello has been read, and the program chooses a context by the server's name. (Only where sessions are shared.)
///
/// # Safety
///
/// libssl passes the argument that the program has set for the context's callback.
unsafe extern "C-unwind" fn choose_server<const INDEX: usize>(
    ssl: SslRef<'_>,
    alert: &mut c_int,
    argument: *mut c_void,
) -> c_int {
    let Some(libssl) = by_index(INDEX) else { return SSL_TLSEXT_ERR_NOACK };
    // Before the program's callback, which may do anything to the connection.
    let resumed = exchange::to_confirm(libssl, ssl);
    let chosen = match exchange::servername(libssl, ssl) {
        // SAFETY: the program's own callback, with what libssl gave us.
        Some(servername) => call_program(|| unsafe { servername(ssl, alert, argument) }),
        None => SSL_TLSEXT_ERR_NOACK,
    };
    let confirmed = resumed.is_none_or(|resumed| exchange::confirm(libssl, ssl, &resumed));
    if chosen != SSL_TLSEXT_ERR_ALERT_FATAL && !confirmed {
        *alert = SSL_AD_HANDSHAKE_FAILURE;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    chosen
}

/// The program's get callback has found a session. Returns whether libssl is to have it.
fn take_external(context: &Arc<Context>, ssl: SslRef<'_>, found: &Session) -> bool {
    let session = found.get();
    if !context.accepts(session) {
        note_external_miss(context);
        return true;
    }
    context.note_external_hit();
    let stores = context.lacks(SSL_SESS_CACHE_NO_INTERNAL_STORE);
    if Connection::new(context, ssl).refuses_replays() {
        let Some(_claim) = context.claim(context.key(session)) else { return false };
        if stores {
            context.plant(found);
        } else {
            // The program may have stored it itself.
            context.plant_if_stored(session);
        }
    } else if stores {
        // Not while the session is in the cache and has not been looked at by libssl: it may have expired, and libssl then
        // calls back for it once more.
        context.auto_flush();
        sessions::add(&Held::from(Arc::clone(context)), session);
    }
    true
}

/// The program has no session that libssl can use, and nobody else was asked.
fn note_external_miss(context: &Context) {
    if !context.lacks(SSL_SESS_CACHE_NO_INTERNAL_LOOKUP) {
        context.note_external_miss();
    }
}

/// libssl has removed a session, or looked for it in its own empty cache, and marked it not resumable.
extern "C-unwind" fn remove_session(ctx: CtxRef<'_>, session: AnySession<'_>) {
    // Not our own removal, made to mark a session.
    if !is_in_libssl() {
        removed_by_libssl(ctx, session);
    }
}

#[inline(never)] // what mostly is not called makes no room on the stack
fn removed_by_libssl(ctx: CtxRef<'_>, session: AnySession<'_>) {
    let Some(context) = registry::find(ctx) else { return };
    let Some(session) = SessionRef::of(context.libssl, session) else { return };
    if lifetime::handle_own(&context, session) {
        return;
    }
    if context.is_removing(session) {
        context.call_replaced_remove(session);
    } else if context.is_ending() {
        context.leave_later(session);
    } else {
        context.remove_after_libssl(session);
    }
}

/// A server needs an id for a new session, and the program has a generator of its own.
///
/// libssl then checks the id against its own internal cache, where a session with this id has to be
/// if we store one.
///
/// # Safety
///
/// libssl passes an array of at least 32 bytes.
unsafe extern "C-unwind" fn generate_session_id<const INDEX: usize>(
    ssl: SslRef<'_>,
    id: *mut c_uchar,
    length: &mut c_uint,
) -> c_int {
    let context = session_context::<INDEX>(ssl);
    context.iter().for_each(Context::reap);
    let own = by_index(INDEX).and_then(|libssl| connections::generator(libssl, ssl));
    // A connection that a QUIC listener has made is noted nowhere.
    let Some(generate) = own.or_else(|| context.as_ref()?.inherited_generator()) else {
        return 0;
    };
    // SAFETY: as promised by libssl.
    unsafe { generate_by(generate, context, ssl, id, length) }
}

/// # Safety
///
/// As for [`generate_session_id`].
unsafe fn generate_by(
    generate: GenerateCallback,
    context: Option<Arc<Context>>,
    ssl: SslRef<'_>,
    id: *mut c_uchar,
    length: &mut c_uint,
) -> c_int {
    // SAFETY: the program's own callback, with what libssl gave us.
    let made = call_program(|| unsafe { generate(ssl, id, length) });
    if let Some(context) = context.filter(|_| made != 0) {
        let length = *length as usize;
        if (1..=SSL_MAX_SSL_SESSION_ID_LENGTH).contains(&length) {
            // SAFETY: as promised by libssl.
            let id = unsafe { std::slice::from_raw_parts(id, length) };
            let version = Connection::new(&context, ssl).version();
            if context.has(version, id) {
                context.plant_conflict(version, id);
            }
        }
    }
    made
}

/// A server needs an id for a new session, and had no generator of the program's when the connection began: as libssl's own
/// generator, but the fleet knows the id again.
///
/// # Safety
///
/// libssl passes an array of at least 32 bytes.
unsafe extern "C-unwind" fn make_session_id<const INDEX: usize>(
    ssl: SslRef<'_>,
    id: *mut c_uchar,
    length: &mut c_uint,
) -> c_int {
    /// MAX_SESS_ID_ATTEMPTS in OpenSSL's ssl_sess.c.
    const ATTEMPTS: usize = 10;
    let Some(libssl) = by_index(INDEX) else { return 0 };
    let context = session_context::<INDEX>(ssl);
    context.iter().for_each(Context::reap);
    // libssl asks the context's present one if the connection has none.
    if let Some(generate) = context.as_ref().and_then(|context| context.generate.get()) {
        // SAFETY: as promised by libssl.
        return unsafe { generate_by(generate, context, ssl, id, length) };
    }
    let size = (*length as usize).min(SSL_MAX_SSL_SESSION_ID_LENGTH);
    // SAFETY: as promised by libssl.
    let id = unsafe { std::slice::from_raw_parts_mut(id, size) };
    // (Out of memory a connection may be nobody's.)
    let sharing = context.as_ref().and_then(|context| context.sharing());
    let is_stored = |id: &[u8]| {
        context
            .as_ref()
            .is_some_and(|context| context.has(Connection::new(context, ssl).version(), id))
    };
    for _ in 0..ATTEMPTS {
        if !sharing::make_id(libssl, sharing, id) {
            return 0;
        }
        if !is_stored(id) {
            return 1;
        }
    }
    0
}
