//! Noticing that a context is being freed, in time to remove its sessions (C15).
//!
//! Two nets. The first is an ex_data free function, registered before any of the program's, so that
//! it runs with no lock held and while the program's ex_data still stands. But it belongs to the
//! default `OSSL_LIB_CTX` of the registration and dies with `OPENSSL_cleanup`. So, second, each
//! context that stores has a sentinel in its real internal cache: `SSL_CTX_free` flushes that, and
//! hands the sentinel to our remove callback. Up to OpenSSL 3.6 that comes under the context's lock,
//! and no real function may be called on it any more.

use std::ffi::{c_int, c_long, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::managed::Managed;
use super::{connections, find, planted, registry};
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, MOST, Session, SessionRef, inside, of_each_libssl};
use crate::sync::Mutex;

// --- First net: ex_data ----------------------------------------------------------------------

/// The default library contexts in which our free functions are registered: see [`watched`]. An entry is there only
/// after its function is. Should there be no room, the second net must do.
static WATCHED: [AtomicUsize; 64] = [const { AtomicUsize::new(NOBODY) }; 64];
const NOBODY: usize = usize::MAX;

/// What is known of each libssl.
#[derive(Debug)]
struct Known {
    /// Its `OPENSSL_cleanup` has run.
    cleaned_up: AtomicBool,
    /// We hear of that.
    listening: AtomicBool,
    /// A context of our own, see [`scratch_context`].
    scratch: AtomicPtr<SSL_CTX>,
}
static KNOWN: [Known; MOST] = [const {
    Known {
        cleaned_up: AtomicBool::new(false),
        listening: AtomicBool::new(false),
        scratch: AtomicPtr::new(std::ptr::null_mut()),
    }
}; MOST];

fn default_library_context(api: &Api) -> usize {
    // SAFETY: NULL changes nothing and asks for the present one.
    api.OSSL_LIB_CTX_set0_default.map_or(0, |set0| unsafe { set0(std::ptr::null_mut()) } as usize)
}

/// Whose objects are watched: a library context (1.1.1 has one, NULL), with the class of the objects and the index of
/// the libssl in the bits that are zero in an address.
fn watched(library: usize, index: usize, class: c_int) -> usize {
    const _: () = assert!(MOST <= 8 && CRYPTO_EX_INDEX_SSL != CRYPTO_EX_INDEX_SSL_CTX);
    library | index << 1 | usize::from(class == CRYPTO_EX_INDEX_SSL)
}

fn is_there(entry: usize) -> bool {
    WATCHED.iter().any(|place| place.load(Ordering::Acquire) == entry)
}

fn is_watched(managed: &Managed) -> bool {
    let index = managed.libssl().index;
    let library = default_library_context(managed.api());
    !KNOWN[index].cleaned_up.load(Ordering::Acquire)
        && is_there(watched(library, index, CRYPTO_EX_INDEX_SSL_CTX))
}

/// Makes sure that the end of contexts is noticed: before the first context under this default library context, and
/// before the program's first ex_data index.
pub(crate) fn watch(libssl: &'static Libssl, api: &Api) {
    register(libssl, api, CRYPTO_EX_INDEX_SSL_CTX, context_freed);
}

/// Makes sure that the end of connections is noticed, also of those that were made before. Not before something is
/// noted of one: a program that never needs it has no function of ours called for each connection.
pub(super) fn watch_connections(libssl: &'static Libssl, api: &Api) {
    register(libssl, api, CRYPTO_EX_INDEX_SSL, connection_freed);
}

/// Registers a free function under the present default library context, unless that has been done. Threads that come
/// here at once all register it, so that none goes on before it is: to wait for one that is inside libcrypto, or
/// was when the process was forked, is not allowed. A second call of the function finds nothing to do.
fn register(libssl: &'static Libssl, api: &Api, class: c_int, free: ExFree) {
    let entry = watched(default_library_context(api), libssl.index, class);
    if is_there(entry) || !is_there(NOBODY) {
        return;
    }
    let null = std::ptr::null_mut();
    // SAFETY: the free function lives as long as the process.
    let index = unsafe { (api.CRYPTO_get_ex_new_index)(class, 0, null, None, None, Some(free)) };
    if index >= 0 && !is_there(entry) {
        let is_free = |place: &&AtomicUsize| {
            place.compare_exchange(NOBODY, entry, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let _ = WATCHED.iter().find(is_free);
    }
    let known = &KNOWN[libssl.index];
    if let Some(atexit) =
        api.OPENSSL_atexit.filter(|_| !known.listening.swap(true, Ordering::AcqRel))
    {
        // SAFETY: the handler lives as long as the process.
        unsafe { atexit(CLEANED_UP[libssl.index]) };
    }
}

/// A library context is being freed; another one may come to its address. (The default one is not
/// freed: libcrypto ignores that.)
pub(crate) fn unwatch(libssl: &'static Libssl, library: *mut OSSL_LIB_CTX) {
    let Some(api) = &libssl.api else { return };
    let ended = library as usize;
    if default_library_context(api) == ended {
        return;
    }
    for class in [CRYPTO_EX_INDEX_SSL_CTX, CRYPTO_EX_INDEX_SSL] {
        let entry = watched(ended, libssl.index, class);
        for place in &WATCHED {
            // Threads that registered at once may have entered it twice.
            let _ = place.compare_exchange(entry, NOBODY, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

static CLEANED_UP: [unsafe extern "C" fn(); MOST] = of_each_libssl!(cleaned_up);

unsafe extern "C" fn cleaned_up<const INDEX: usize>() {
    KNOWN[INDEX].cleaned_up.store(true, Ordering::Release);
}

unsafe extern "C-unwind" fn context_freed(
    ctx: *mut c_void,
    _value: *mut c_void,
    _table: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    let Some(managed) = find(ctx.cast()) else { return };
    managed.end();
    remove_sentinel(&managed);
    // Where libssl goes through the PLT, its own flush has come to us instead. What the program put
    // into the real cache past us comes to our remove callback, which lets it wait: this flush
    // holds the context's lock.
    flush_real(&managed);
    managed.finish_leaving();
    guard((), || registry::forget(&managed));
}

fn flush_real(managed: &Managed) {
    let api = managed.api();
    if let Some(flush_ex) = api.SSL_CTX_flush_sessions_ex {
        // SAFETY: the context is alive until its ex_data is freed.
        unsafe { flush_ex(managed.ctx(), 0) };
    } else if let Some(flush) = api.SSL_CTX_flush_sessions {
        // SAFETY: as above.
        unsafe { flush(managed.ctx(), 0) };
    }
}

unsafe extern "C-unwind" fn connection_freed(
    ssl: *mut c_void,
    _value: *mut c_void,
    _table: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    connections::forget(ssl.cast());
}

// --- Second net: the sentinel ----------------------------------------------------------------

/// The id of sentinels; with version 0 no session of a connection can have their key.
const SENTINEL_ID: &[u8; 32] = b"sslsweep: this context is in use";

/// A context's sentinel.
#[derive(Debug, Default)]
pub(super) struct Sentinel {
    session: Mutex<Option<Session>>,
    /// libssl is freeing the context, and up to 3.6 holds its lock.
    fell: AtomicBool,
}

impl Sentinel {
    /// The context through which sessions can be removed, and so marked, now.
    pub(super) fn context_for_removing(&self, managed: &Managed) -> Option<*mut SSL_CTX> {
        if self.fell.load(Ordering::Acquire) {
            scratch_context(managed)
        } else {
            Some(managed.ctx())
        }
    }
}

/// Plants a context's sentinel. Without memory the first net must do.
pub(super) fn plant_sentinel(managed: &Managed) {
    let Some(session) = Session::with_key(managed.libssl(), 0, SENTINEL_ID) else { return };
    {
        let mut sentinel = managed.sentinel.session.lock();
        if sentinel.is_some() {
            return;
        }
        *sentinel = Some(session.clone());
    }
    managed.add_real(&session);
}

/// Removes a context's sentinel, if it still stands.
fn remove_sentinel(managed: &Managed) {
    let sentinel = managed.sentinel.session.lock().take();
    if let Some(sentinel) = sentinel {
        managed.remove_real(*sentinel);
    }
}

/// The program, or libssl from within `SSL_CTX_free`, has flushed everything. Where the first net does
/// not reach, that may have been the end: nothing is left behind. (Only where libssl goes through
/// the PLT does its flush come to us, and the real one not to the sentinel.)
pub(crate) fn may_have_ended(managed: &Arc<Managed>) {
    if managed.is_storing() && !is_watched(managed) {
        managed.stops_storing();
        remove_sentinel(managed);
    }
}

/// Handles that libssl removes from its own cache what we put there: the sentinel, or a stand-in.
/// Returns whether it was that.
pub(super) fn handle_own(managed: &Arc<Managed>, session: SessionRef) -> bool {
    let sentinel = {
        let mut sentinel = managed.sentinel.session.lock();
        sentinel.take_if(|planted| **planted == session)
    };
    if sentinel.is_none() {
        return planted::is_stand_in(managed, session);
    }
    if !is_watched(managed) {
        managed.sentinel.fell.store(true, Ordering::Release);
        managed.end();
        guard((), || registry::forget(managed));
    }
    true
}

/// A context of our own, to mark sessions through when their own can't be used.
fn scratch_context(managed: &Managed) -> Option<*mut SSL_CTX> {
    let Known { scratch, cleaned_up, .. } = &KNOWN[managed.libssl().index];
    let existing = scratch.load(Ordering::Acquire);
    if !existing.is_null() {
        return Some(existing);
    }
    if cleaned_up.load(Ordering::Acquire) {
        // libssl can make no more contexts.
        return None;
    }
    let api = managed.api();
    // SAFETY: no preconditions.
    unsafe { (api.ERR_set_mark)() };
    // SAFETY: no preconditions.
    let method = unsafe { (api.TLS_method)() };
    // Fails where the default library context has no ciphers.
    // SAFETY: the method is libssl's.
    let made = inside(|| unsafe { (api.SSL_CTX_new)(method) });
    // SAFETY: undoes ERR_set_mark, with what was raised since.
    unsafe { (api.ERR_pop_to_mark)() };
    let null = std::ptr::null_mut();
    match scratch.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => (!made.is_null()).then_some(made),
        Err(other) => {
            // SAFETY: made here and known to nobody else.
            unsafe { (api.SSL_CTX_free)(made) };
            Some(other)
        }
    }
}
