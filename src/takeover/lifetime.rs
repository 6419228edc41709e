//! Noticing that a context is being freed, in time to remove its sessions (C15).
//!
//! Two nets. The first is an ex_data free function, registered before any of the program's, so that
//! it runs with no lock held and while the program's ex_data still stands. But it belongs to the
//! default `OSSL_LIB_CTX` of the registration and dies with `OPENSSL_cleanup`. So, second, each
//! context that stores has a sentinel in its real internal cache: `SSL_CTX_free` flushes that, and
//! hands the sentinel to our remove callback. Up to OpenSSL 3.6 that comes under the context's lock,
//! and no real function that takes it may be called on that context.
//!
//! The sentinel also tells of a flush of everything past us (P12).

use std::ffi::{CStr, c_int, c_long, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::managed::Managed;
use super::{connections, find, flush, planted, registry};
use crate::cache::Cutoff;
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, MOST, Session, SessionRef, inside, of_each_libssl};
use crate::stack::this_thread;
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

/// Makes sure that the end of connections is noticed, also of those that were made before. Only where libcrypto has
/// functions to call for each connection anyway, or where it must be: the first one costs every connection several hundred
/// instructions.
pub(crate) fn watch_connections(libssl: &'static Libssl, api: &Api) {
    register(libssl, api, CRYPTO_EX_INDEX_SSL, connection_freed);
}

/// Whether the end of connections that are made now is noticed.
pub(super) fn watches_connections(libssl: &Libssl, api: &Api) -> bool {
    is_there(watched(default_library_context(api), libssl.index, CRYPTO_EX_INDEX_SSL))
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

/// When sentinels expire, in seconds: in 2514, later than whatever a flush by time removes. OpenSSL 3.2 and later
/// cannot hold much more, as their times are nanoseconds in 64 bits.
const SENTINEL_EXPIRY: c_long = c_long::MAX >> c_long::BITS.saturating_sub(35);

/// A context's sentinel.
#[derive(Debug, Default)]
pub(super) struct Sentinel {
    session: Mutex<Option<Session>>,
    stands: AtomicBool,
    /// The thread that flushes or frees the context past us, and up to 3.6 holds its lock; or 0.
    fell: AtomicUsize,
}

impl Sentinel {
    /// The context through which sessions can be removed, and so marked, now.
    pub(super) fn context_for_removing(&self, managed: &Managed) -> Option<*mut SSL_CTX> {
        if self.has_fallen_here() { scratch_context(managed) } else { Some(managed.ctx()) }
    }

    fn has_fallen_here(&self) -> bool {
        self.fell.load(Ordering::Acquire) == this_thread()
    }
}

/// Plants a context's sentinel, unless it stands. Out of memory, the first net must do.
pub(super) fn plant_sentinel(managed: &Managed) {
    let sentinel = &managed.sentinel;
    if sentinel.stands.load(Ordering::Acquire) || managed.is_ending() || sentinel.has_fallen_here()
    {
        return;
    }
    let Some(session) = Session::with_key(managed.libssl(), 0, SENTINEL_ID) else { return };
    session.set_time(0);
    session.set_timeout(SENTINEL_EXPIRY);
    {
        let mut place = sentinel.session.lock();
        if place.is_some() {
            return;
        }
        *place = Some(session.clone());
        sentinel.stands.store(true, Ordering::Release);
    }
    managed.add_real(&session);
}

/// Removes a context's sentinel, if it still stands.
fn remove_sentinel(managed: &Managed) {
    let sentinel = take_sentinel(managed, |_| true);
    if let Some(sentinel) = sentinel {
        managed.remove_real(*sentinel);
    }
}

fn take_sentinel(managed: &Managed, is_it: impl Fn(&Session) -> bool) -> Option<Session> {
    let mut place = managed.sentinel.session.lock();
    let taken = place.take_if(|planted| is_it(planted));
    if taken.is_some() {
        managed.sentinel.stands.store(false, Ordering::Release);
    }
    taken
}

/// The program, or libssl from within `SSL_CTX_free`, is about to flush everything. Where libssl goes through the PLT, this
/// is how its sessions leave with a context, and the operator is to know that they were not flushed.
pub(crate) fn publish_if_ending(managed: &Managed) {
    if managed.is_published() && is_being_freed(managed) == Some(true) {
        managed.publish_end();
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
    let sentinel = take_sentinel(managed, |planted| **planted == session);
    if sentinel.is_none() {
        return planted::is_stand_in(managed, session);
    }
    let is_watched = is_watched(managed);
    if is_being_freed(managed).unwrap_or(!is_watched) {
        if !is_watched {
            managed.sentinel.fell.store(this_thread(), Ordering::Release);
            managed.end();
            guard((), || registry::forget(managed));
        }
    } else if !managed.may_real_cache_evict() || managed.ask_real(SSL_CTRL_SESS_NUMBER) == 0 {
        flushed_past_us(managed);
    }
    // Else libssl may have made room in its cache, for a session that is being added past us.
    true
}

/// Everything has been flushed past us (P12). Up to 3.6 this thread holds the context's lock, also while the
/// callbacks run, as with stock libssl. The next store plants the sentinel again.
fn flushed_past_us(managed: &Arc<Managed>) {
    /// Also when a callback ends the thread or throws.
    struct Over<'a>(&'a AtomicUsize);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(0, Ordering::Release);
        }
    }
    managed.sentinel.fell.store(this_thread(), Ordering::Release);
    let _over = Over(&managed.sentinel.fell);
    planted::put_all_back(managed);
    flush::flush(managed, Cutoff::All);
}

/// Whether libssl removes everything because it frees the context: there is no reference any more, and
/// `SSL_CTX_up_ref` says so. `None` if that may not be asked: in a libssl with debugging assertions it ends the
/// process.
///
/// (The one raised then stays. It is harmless: libssl does not look at the count again, and a reference that a
/// callback takes and drops cannot free the context a second time.)
fn is_being_freed(managed: &Managed) -> Option<bool> {
    const CFLAGS: c_int = 1; // OPENSSL_CFLAGS
    let api = managed.api();
    // SAFETY: no preconditions.
    let flags = unsafe { (api.OpenSSL_version)(CFLAGS) };
    if flags.is_null() {
        return None;
    }
    // SAFETY: OpenSSL_version returns a static string.
    let flags = unsafe { CStr::from_ptr(flags) }.to_bytes();
    if !flags.split(u8::is_ascii_whitespace).any(|flag| flag == b"-DNDEBUG") {
        return None;
    }
    // SAFETY: libssl is in a call for this context; the count is atomic, and no lock is taken.
    let has_others = unsafe { (api.SSL_CTX_up_ref)(managed.ctx()) } == 1;
    if has_others {
        // SAFETY: gives up the reference just taken, which is not the last one: the flush's caller has one.
        unsafe { (api.SSL_CTX_free)(managed.ctx()) };
    }
    Some(!has_others)
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
