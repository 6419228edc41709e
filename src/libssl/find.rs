//! Finding the real libssl.
//!
//! It may have been loaded at start, where `RTLD_NEXT` sees it; or later by `dlopen` with
//! `RTLD_LOCAL` (Python's `_ssl` and many plug-ins), where only a walk over the loaded objects does;
//! or not yet, or never. So the search is made when first needed and again until it succeeds.

use std::ffi::{CStr, CString, c_char, c_int, c_ulong, c_void};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use once_cell::race::OnceBox;

use super::symbols::{Api, Behind};
use super::types::{OpenSslVersion, SSL_METHOD};
use crate::{options, report};

/// The real libssl, found in this process.
#[derive(Debug)]
pub(crate) struct Libssl {
    /// The functions behind our exports.
    pub(crate) behind: Behind,
    /// What the takeover calls; `None` when this libssl is to be left alone.
    pub(crate) api: Option<Api>,
    /// `OpenSSL_version_num()`.
    version: c_ulong,
    path: CString,
    /// A method that was seen to be this libssl's.
    known_method: AtomicPtr<SSL_METHOD>,
}

// A race instead of a lock: one thread may be in a constructor under the loader's lock and wait for
// us while another holds our lock and waits for the loader.
static FOUND: OnceBox<Libssl> = OnceBox::new();

/// The real libssl, if it has been loaded.
#[inline]
pub(crate) fn libssl() -> Option<&'static Libssl> {
    FOUND.get().or_else(search_now)
}

#[cold]
fn search_now() -> Option<&'static Libssl> {
    let found = search()?;
    if FOUND.set(Box::new(found.libssl)).is_ok() {
        found.report.into_iter().for_each(|line| report::line(&line));
    }
    FOUND.get()
}

/// What the takeover calls, if the real libssl has been loaded and is one to take over.
pub(crate) fn api() -> Option<&'static Api> {
    libssl()?.api.as_ref()
}

impl Libssl {
    fn new(behind: Behind, api: Option<Api>, version: c_ulong, path: CString) -> Self {
        Self { behind, api, version, path, known_method: AtomicPtr::default() }
    }

    /// Whether a method, which is a constant inside the libssl that it came from, is this libssl's.
    ///
    /// With another libssl in the process its callers reach us as well. Its contexts can't be made
    /// here, and what this libssl would do with its method nobody knows; that is said once.
    pub(crate) fn owns(&self, method: *const SSL_METHOD) -> bool {
        let method = method.cast_mut();
        if method.is_null() || self.known_method.load(Ordering::Relaxed) == method {
            return true;
        }
        match object_of(method.cast()) {
            Some(other) if other != self.path && is_libssl(&other) => {
                static SAID: AtomicBool = AtomicBool::new(false);
                if !SAID.swap(true, Ordering::Relaxed) {
                    report::line(&format!(
                        "serves {}; {} in the same process gets no SSL_CTX",
                        self.path.to_string_lossy(),
                        other.to_string_lossy()
                    ));
                }
                false
            }
            _ => {
                self.known_method.store(method, Ordering::Relaxed);
                true
            }
        }
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

struct Search {
    libssl: Libssl,
    report: Vec<String>,
}

fn search() -> Option<Search> {
    let loaded = loaded_objects(is_libssl);
    // A function that nobody has a reason to wrap, unlike SSL_CTX_new.
    let next = object_of(next_function(c"SSL_SESSION_is_resumable"));
    let path = match next {
        Some(next) if !is_libssl(&next) => return Some(embedded(&next)),
        Some(next) => next,
        None => loaded.first()?.clone(),
    };
    // SAFETY: `path` is a string; RTLD_NOLOAD runs no constructor. The handle is never closed, which
    // keeps the functions that we resolve in place.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
    if handle.is_null() {
        return None;
    }
    let lookup = |name: &CStr| {
        // SAFETY: the handle is open, and the name is a string.
        unsafe { libc::dlsym(handle, name.as_ptr()) }
    };
    // What other preloaded libraries wrap stays wrapped.
    let behind = Behind::resolve(|name| match next_function(name) {
        next if next.is_null() => lookup(name),
        next => next,
    });
    let behind = behind.ok()?;
    let (version, text) = version(lookup);
    // As dladdr calls it, for comparison with methods.
    let object = object_of(lookup(c"SSL_CTX_new")).unwrap_or_else(|| path.clone());
    let path = path.to_string_lossy();
    let mut report = Vec::new();
    let mut say = |line: String| {
        if options::get().verbose {
            report.push(line);
        }
    };

    let api = if options::get().disable {
        say(format!("stands aside of {path} ({text}): SSLSWEEP_DISABLE=1"));
        None
    } else if !text.starts_with("OpenSSL ") || version < 0x1010_1000 {
        say(format!("stands aside of {path} ({text}): not OpenSSL 1.1.1 or later"));
        None
    } else {
        match Api::resolve(lookup) {
            Ok(api) => {
                say(format!("found {path} ({text})"));
                Some(api)
            }
            Err(missing) => {
                say(format!("stands aside of {path} ({text}): it has no {missing}"));
                None
            }
        }
    };
    Some(Search { libssl: Libssl::new(behind, api, version, object), report })
}

/// An OpenSSL inside another library, which is left alone: what it exports is called, and no more.
fn embedded(path: &CStr) -> Search {
    let Ok(behind) = Behind::resolve(next_function) else { unreachable!("nothing is required") };
    let line = format!("stands aside of the OpenSSL in {}", path.to_string_lossy());
    let report = if options::get().verbose { vec![line] } else { vec![] };
    Search { libssl: Libssl::new(behind, None, 0, path.to_owned()), report }
}

/// The function that the dynamic linker would take if we were not there: ours is not the only
/// library that may be preloaded. Another copy of this one is skipped, or two would take over.
fn next_function(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a string.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    match object_of(next) {
        Some(path) if !is_named(&path, b"libsslsweep") => next,
        _ => std::ptr::null_mut(),
    }
}

/// The path of the object that an address lies in.
pub(crate) fn object_of(address: *mut c_void) -> Option<CString> {
    let mut info: std::mem::MaybeUninit<libc::Dl_info> = std::mem::MaybeUninit::zeroed();
    // SAFETY: dladdr takes any address and fills `info` if it returns non-zero.
    if address.is_null() || unsafe { libc::dladdr(address, info.as_mut_ptr()) } == 0 {
        return None;
    }
    // SAFETY: filled by dladdr, or zero.
    let name = unsafe { info.assume_init() }.dli_fname;
    if name.is_null() {
        return None;
    }
    // SAFETY: dladdr's name is a string that lives as long as the object, which is loaded.
    Some(unsafe { CStr::from_ptr(name) }.to_owned())
}

/// A function of libcrypto, in a process that need not have libssl.
pub(crate) fn libcrypto_function(name: &CStr) -> *mut c_void {
    let next = next_function(name);
    if !next.is_null() {
        return next;
    }
    loaded_objects(|path| is_named(path, b"libcrypto"))
        .iter()
        .map(|path| {
            // SAFETY: as in `search`.
            let handle =
                unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
            if handle.is_null() {
                return handle;
            }
            // SAFETY: the handle is open, and the name is a string.
            unsafe { libc::dlsym(handle, name.as_ptr()) }
        })
        .find(|address| !address.is_null())
        .unwrap_or(std::ptr::null_mut())
}

/// The paths of all loaded objects with such a path.
fn loaded_objects(wanted: fn(&CStr) -> bool) -> Vec<CString> {
    struct Walk {
        wanted: fn(&CStr) -> bool,
        paths: Vec<CString>,
    }
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        walk: *mut c_void,
    ) -> c_int {
        // SAFETY: `walk` is what was handed to dl_iterate_phdr below.
        let walk = unsafe { &mut *walk.cast::<Walk>() };
        // SAFETY: dl_iterate_phdr passes a valid description.
        let name = unsafe { (*info).dlpi_name };
        if !name.is_null() {
            // SAFETY: the name is a string.
            let name = unsafe { CStr::from_ptr(name) };
            if (walk.wanted)(name) {
                walk.paths.push(name.to_owned());
            }
        }
        0
    }
    let mut walk = Walk { wanted, paths: Vec::new() };
    // SAFETY: `visit` matches the prototype and does not unwind; `walk` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut walk).cast()) };
    walk.paths
}

fn is_libssl(path: &CStr) -> bool {
    is_named(path, b"libssl")
}

/// `NAME.so...`, or `NAME-HASH.so...` as bundled with a program.
fn is_named(path: &CStr, name: &[u8]) -> bool {
    let path = path.to_bytes();
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with(b".so") || rest.starts_with(b"-"))
}

/// `OpenSSL_version_num` and the text of `OpenSSL_version`.
fn version(lookup: impl Fn(&CStr) -> *mut c_void) -> (c_ulong, String) {
    type VersionNum = unsafe extern "C" fn() -> c_ulong;
    let (number, text) = (lookup(c"OpenSSL_version_num"), lookup(c"OpenSSL_version"));
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
