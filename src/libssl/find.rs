//! Finding the real libssl, or each of several, and the libcrypto of a caller.
//!
//! It may have been loaded at start, where `RTLD_NEXT` sees it; or later by `dlopen` with
//! `RTLD_LOCAL` (Python's `_ssl` and many plug-ins), where only a walk over the loaded objects does;
//! or not yet, or never. So the search is made when first needed and again until it succeeds.
//!
//! Each version node has its own. Where two libssl have one node, the second one shows itself by a
//! method, which is a constant inside it; from then on a call that no managed context tells more
//! about is asked where it comes from ([`super::caller`]).

use std::ffi::{CStr, CString, c_char, c_ulong, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use once_cell::race::{OnceBox, OnceRef};

use super::caller::function_of_caller;
use super::node::Node;
use super::object::{
    Object, is_libcrypto, is_libssl, is_ours, loaded_objects, next_function, object_of,
};
use super::symbols::{Api, Behind};
use super::types::{OpenSslVersion, SSL_METHOD};
use crate::guard::guard;
use crate::{options, report};

/// How many libssl of one process are served.
pub(crate) const MOST: usize = 8;

/// A real libssl, found in this process.
#[derive(Debug)]
pub(crate) struct Libssl {
    /// The functions behind our exports.
    pub(crate) behind: Behind,
    /// What the takeover calls; `None` when this libssl is to be left alone.
    pub(crate) api: Option<Api>,
    /// Its place among the libssl of this process.
    pub(crate) index: usize,
    /// `OpenSSL_version_num()`.
    version: c_ulong,
    /// As dladdr has it, for comparison.
    path: CString,
    /// A method that was seen to be this libssl's.
    known_method: AtomicPtr<SSL_METHOD>,
}

// Races instead of locks: one thread may be in a constructor under the loader's lock and wait for
// us while another holds our lock and waits for the loader.

/// Every libssl that was found. None is forgotten.
static FOUND: [OnceBox<Libssl>; MOST] = [const { OnceBox::new() }; MOST];

/// The one that comes first for each node.
static FIRST: [OnceRef<'static, Libssl>; Node::COUNT] = [const { OnceRef::new() }; Node::COUNT];

/// Whether some node has more than one.
static SEVERAL: AtomicBool = AtomicBool::new(false);

/// A function that every libssl has and nobody has a reason to wrap, unlike SSL_CTX_new.
const ANCHOR: &CStr = c"SSL_SESSION_get_timeout";

/// The real libssl of a caller, if it has been loaded.
#[inline]
pub(crate) fn libssl(caller: Node) -> Option<&'static Libssl> {
    if several() {
        let own = guard(None, || function_of_caller(ANCHOR).and_then(object_of));
        if let Some(own) = own.and_then(|path| known(&path)) {
            return Some(own);
        }
    }
    FIRST[caller as usize].get().or_else(|| guard(None, || search_now(caller)))
}

/// Whether a node does not always tell a caller's libssl.
#[inline]
pub(crate) fn several() -> bool {
    SEVERAL.load(Ordering::Acquire)
}

/// The libssl with this index.
#[inline]
pub(crate) fn by_index(index: usize) -> Option<&'static Libssl> {
    FOUND.get(index)?.get()
}

/// The libssl that a method is a constant of; the caller's for NULL. `None` if it was not loaded, or
/// can't be served, which is said once.
pub(crate) fn libssl_of_method(caller: Node, method: *const SSL_METHOD) -> Option<&'static Libssl> {
    let first = libssl(caller)?;
    let method = method.cast_mut();
    if method.is_null() || first.known_method.load(Ordering::Relaxed) == method {
        return Some(first);
    }
    match object_of(method.cast()) {
        Some(other) if other != first.path && is_libssl(&other) => {
            SEVERAL.store(true, Ordering::Release);
            known(&other).or_else(|| load(&other)).or_else(|| {
                static SAID: AtomicBool = AtomicBool::new(false);
                if !SAID.swap(true, Ordering::Relaxed) {
                    report::line(format_args!(
                        "serves {MOST} libssl; {} in the same process gets no SSL_CTX",
                        other.to_string_lossy()
                    ));
                }
                None
            })
        }
        _ => {
            first.known_method.store(method, Ordering::Relaxed);
            Some(first)
        }
    }
}

/// The libssl at this path, if it was found before.
fn known(path: &CStr) -> Option<&'static Libssl> {
    FOUND.iter().map_while(OnceBox::get).find(|libssl| *libssl.path == *path)
}

#[cold]
fn search_now(node: Node) -> Option<&'static Libssl> {
    let path = object_of(next_function(node, ANCHOR)).or_else(|| first_loaded(node))?;
    let libssl = known(&path).or_else(|| load(&path))?;
    let first = &FIRST[node as usize];
    // Another thread may have been faster.
    let _ = first.set(libssl);
    first.get()
}

/// The first loaded libssl that has functions of this node.
fn first_loaded(node: Node) -> Option<CString> {
    loaded_objects(is_libssl).iter().find_map(|path| {
        let object = Object::loaded(path)?;
        let has_node = node == Node::Own || object.has_versions(ANCHOR);
        // As dladdr calls it.
        object_of(object.function_at(node, ANCHOR)).filter(|path| has_node && is_libssl(path))
    })
}

/// Takes the libssl at this path among those that are served. `None` if there are too many.
fn load(path: &CStr) -> Option<&'static Libssl> {
    for (index, place) in FOUND.iter().enumerate() {
        if place.get().is_none() {
            let (libssl, report) = Libssl::open(path, index)?;
            if place.set(Box::new(libssl)).is_ok() && options::get().verbose {
                report::line(&report);
            }
        }
        // Another thread may have been faster, with this one or with another.
        if let Some(libssl) = place.get().filter(|libssl| *libssl.path == *path) {
            return Some(libssl);
        }
    }
    None
}

/// A function of the caller's libcrypto, in a process that need not have libssl.
pub(crate) fn libcrypto_function(node: Node, name: &CStr) -> *mut c_void {
    let loaded = loaded_objects(is_libcrypto);
    let of_caller = if loaded.len() > 1 { function_of_caller(name) } else { None };
    of_caller.filter(|&function| !is_ours(function)).unwrap_or_else(|| {
        let next = next_function(node, name);
        if !next.is_null() {
            return next;
        }
        loaded
            .iter()
            .filter_map(|path| Object::loaded(path))
            .map(|object| object.function_at(node, name))
            .find(|address| !address.is_null())
            .unwrap_or(std::ptr::null_mut())
    })
}

impl Libssl {
    /// Resolves the functions of the libssl at this path. Also returns what there is to say.
    fn open(path: &CStr, index: usize) -> Option<(Self, String)> {
        let shown = path.to_string_lossy();
        // An OpenSSL inside another library is left alone: what it exports is called, and no more.
        let object = if is_libssl(path) { Some(Object::loaded(path)?) } else { None };
        let behind = Behind::resolve(|name| {
            let next = next_function(Node::Own, name);
            match object {
                // What other preloaded libraries wrap stays wrapped.
                Some(object) if object_of(next).is_none_or(|next| is_libssl(&next)) => {
                    object.function(name)
                }
                _ => next,
            }
        });
        let (version, text) = object.map_or((0, String::new()), version);
        let (api, report) = match object {
            None => (None, format!("stands aside of the OpenSSL in {shown}")),
            Some(object) => match usable(object, version, &text) {
                Ok(api) => (Some(api), format!("found {shown} ({text})")),
                Err(reason) => (None, format!("stands aside of {shown} ({text}): {reason}")),
            },
        };
        let known_method = AtomicPtr::default();
        let path = path.to_owned();
        Some((Self { behind: behind.ok()?, api, index, version, path, known_method }, report))
    }

    /// Whether a session from a get callback that is marked not resumable is ignored: so since the
    /// fix of CVE-2024-2511.
    pub(crate) fn ignores_not_resumable(&self) -> bool {
        let (minor, patch) = (self.version >> 20 & 0xff, self.version >> 4 & 0xff);
        match (self.version >> 28, minor) {
            (0..3, _) => false,
            (3, 0) => patch >= 14,
            (3, 1) => patch >= 6,
            (3, 2) => patch >= 2,
            _ => true,
        }
    }
}

/// What the takeover calls in a libssl, or why it is left alone.
fn usable(object: Object, version: c_ulong, text: &str) -> Result<Api, String> {
    if options::get().disable {
        return Err("SSLSWEEP_DISABLE=1".into());
    }
    if !text.starts_with("OpenSSL ") || version < 0x1010_1000 {
        return Err("not OpenSSL 1.1.1 or later".into());
    }
    let api = Api::resolve(|name| object.function(name))
        .map_err(|missing| format!("it has no {missing}"))?;
    if api.SSL_SESSION_get_time_ex.is_none() && api.SSL_SESSION_get_time.is_none() {
        return Err("it has no SSL_SESSION_get_time_ex".into());
    }
    Ok(api)
}

/// `OpenSSL_version_num` and the text of `OpenSSL_version`.
fn version(object: Object) -> (c_ulong, String) {
    type VersionNum = unsafe extern "C" fn() -> c_ulong;
    let (number, text) =
        (object.function(c"OpenSSL_version_num"), object.function(c"OpenSSL_version"));
    if number.is_null() || text.is_null() {
        return (0, "unknown version".into());
    }
    // SAFETY: an address under this name is this function, by OpenSSL's ABI.
    let number: VersionNum = unsafe { std::mem::transmute(number) };
    // SAFETY: as above.
    let text: OpenSslVersion = unsafe { std::mem::transmute(text) };
    // SAFETY: has no preconditions.
    let number = unsafe { number() };
    // SAFETY: has no preconditions; 0 is OPENSSL_VERSION.
    let text: *const c_char = unsafe { text(0) };
    if text.is_null() {
        return (number, "unknown version".into());
    }
    // SAFETY: OpenSSL_version returns a static string.
    (number, unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
