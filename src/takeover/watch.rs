//! Hearing from libcrypto of the end of contexts and connections, by ex_data free functions, and of its own end. Which
//! functions these are is not known here.

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, MAX_LIBSSL, call_libssl, of_each_libssl};

/// The default library contexts in which our free functions are registered: see [`watched`]. An entry is there only
/// after its function is. Should there be no room, nobody hears.
static WATCHED: [AtomicUsize; 64] = [const { AtomicUsize::new(NOBODY) }; 64];
const NOBODY: usize = usize::MAX;

/// The state of each libssl.
#[derive(Debug)]
struct Known {
    /// Its `OPENSSL_cleanup` has run.
    cleaned_up: AtomicBool,
    /// We hear of that.
    listening: AtomicBool,
    /// A context of our own, see [`scratch_context`].
    scratch: AtomicPtr<SSL_CTX>,
}
static KNOWN: [Known; MAX_LIBSSL] = [const {
    Known {
        cleaned_up: AtomicBool::new(false),
        listening: AtomicBool::new(false),
        scratch: AtomicPtr::new(std::ptr::null_mut()),
    }
}; MAX_LIBSSL];

fn default_library_context(api: &Api) -> usize {
    // SAFETY: NULL changes nothing and asks for the present one.
    api.OSSL_LIB_CTX_set0_default.map_or(0, |set0| unsafe { set0(std::ptr::null_mut()) }.addr())
}

/// Whose objects are watched: a library context (1.1.1 has one, NULL), with the class of the objects and the index of
/// the libssl in the bits that are zero in an address.
fn watched(library: usize, libssl: &Libssl, class: c_int) -> usize {
    const _: () = assert!(MAX_LIBSSL <= 8 && CRYPTO_EX_INDEX_SSL != CRYPTO_EX_INDEX_SSL_CTX);
    library | libssl.index << 1 | usize::from(class == CRYPTO_EX_INDEX_SSL)
}

fn is_there(entry: usize) -> bool {
    WATCHED.iter().any(|place| place.load(Ordering::Acquire) == entry)
}

/// Returns whether the end of objects that are made now will be heard of.
pub(super) fn is_watched(libssl: &Libssl, api: &Api, class: c_int) -> bool {
    is_there(watched(default_library_context(api), libssl, class))
}

/// Returns whether libcrypto still tells of the end of contexts.
pub(super) fn hears_of_contexts(libssl: &Libssl, api: &Api) -> bool {
    !KNOWN[libssl.index].cleaned_up.load(Ordering::Acquire)
        && is_watched(libssl, api, CRYPTO_EX_INDEX_SSL_CTX)
}

/// Registers functions for new and for freed objects under the present default library context, unless that has been
/// done. Threads that come here at once all register them, so that none goes on before that is done: to wait for one that is
/// inside libcrypto, or was when the process was forked, is not allowed. A second call of a function must find
/// nothing to do.
pub(super) fn watch(libssl: &Libssl, api: &Api, class: c_int, new: Option<ExNew>, free: ExFree) {
    let entry = watched(default_library_context(api), libssl, class);
    if is_there(entry) || !is_there(NOBODY) {
        return;
    }
    let (get_index, null) = (api.CRYPTO_get_ex_new_index, std::ptr::null_mut());
    let index = get_index(class, 0, null, new, None, Some(free));
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
        atexit(CLEANED_UP[libssl.index]);
    }
}

/// A library context is being freed; another one may come to its address. (The default one is not
/// freed: libcrypto ignores that.)
pub(crate) fn unwatch(libssl: &Libssl, library: *mut OSSL_LIB_CTX) {
    let Some(api) = &libssl.api else { return };
    let ended = library.addr();
    if default_library_context(api) == ended {
        return;
    }
    for class in [CRYPTO_EX_INDEX_SSL_CTX, CRYPTO_EX_INDEX_SSL] {
        let entry = watched(ended, libssl, class);
        for place in &WATCHED {
            // Threads that registered at once may have entered it twice.
            let _ = place.compare_exchange(entry, NOBODY, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

static CLEANED_UP: [extern "C" fn(); MAX_LIBSSL] = of_each_libssl!(cleaned_up);

extern "C" fn cleaned_up<const INDEX: usize>() {
    KNOWN[INDEX].cleaned_up.store(true, Ordering::Release);
}

/// A context of our own, to mark sessions through when their own can't be used.
pub(super) fn scratch_context(libssl: &Libssl, api: &Api) -> Option<CtxRef<'static>> {
    let Known { scratch, cleaned_up, .. } = &KNOWN[libssl.index];
    let existing = scratch.load(Ordering::Acquire);
    // After its cleanup libssl can make no more contexts.
    let ctx = match existing.is_null() && !cleaned_up.load(Ordering::Acquire) {
        true => make_scratch(api, scratch),
        false => existing,
    };
    // SAFETY: it is never freed.
    NonNull::new(ctx).map(|ctx| unsafe { CtxRef::alive(ctx) })
}

fn make_scratch(api: &Api, scratch: &AtomicPtr<SSL_CTX>) -> *mut SSL_CTX {
    (api.ERR_set_mark)();
    let method = (api.TLS_method)();
    // Fails where the default library context has no ciphers.
    // SAFETY: the method is libssl's.
    let made = call_libssl(|| unsafe { (api.SSL_CTX_new)(method) });
    // With what was raised since.
    (api.ERR_pop_to_mark)();
    let null = std::ptr::null_mut();
    match scratch.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => made,
        Err(other) => {
            // SAFETY: made here and known to nobody else.
            unsafe { (api.SSL_CTX_free)(made) };
            other
        }
    }
}
