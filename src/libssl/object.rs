//! The objects that are loaded in this process, and looking functions up in them.

use std::ffi::{CStr, CString, c_int, c_void};

use super::node::Node;

/// A loaded object. Its handle is never closed, which keeps the functions that we resolve in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object(*mut c_void);

impl Object {
    /// `None` if no object of this path is loaded.
    pub(super) fn loaded(path: &CStr) -> Option<Self> {
        // SAFETY: `path` is a string; RTLD_NOLOAD runs no constructor.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        (!handle.is_null()).then_some(Self(handle))
    }

    /// A function of this object or of those that it needs.
    pub(super) fn function(self, name: &CStr) -> *mut c_void {
        // SAFETY: the handle is open, and the name is a string.
        unsafe { libc::dlsym(self.0, name.as_ptr()) }
    }

    /// The same, bound as a caller of this node is.
    pub(super) fn function_at(self, node: Node, name: &CStr) -> *mut c_void {
        let Some(version) = node.version() else { return self.function(name) };
        // SAFETY: the handle is open, and both are strings.
        unsafe { libc::dlvsym(self.0, name.as_ptr(), version.as_ptr()) }
    }

    /// Whether the object's functions carry versions at all: one without them has every version.
    pub(super) fn has_versions(self, name: &CStr) -> bool {
        // SAFETY: the handle is open, and both are strings.
        unsafe { libc::dlvsym(self.0, name.as_ptr(), c"no such version".as_ptr()) }.is_null()
    }
}

/// The function that the dynamic linker would take for a caller of this node if we were not there: ours
/// is not the only library that may be preloaded. Another copy of this one is skipped, or two would
/// take over.
pub(super) fn next_function(node: Node, name: &CStr) -> *mut c_void {
    let next = match node.version() {
        // SAFETY: both are strings.
        Some(version) => unsafe { libc::dlvsym(libc::RTLD_NEXT, name.as_ptr(), version.as_ptr()) },
        // SAFETY: the name is a string.
        None => unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) },
    };
    if is_ours(next) { std::ptr::null_mut() } else { next }
}

/// Keeps this library in the process: from now on libssl has functions of ours, and may outlive whoever brought
/// us along. (As part of a plug-in we are the plug-in; of the program, there all the time.)
pub(crate) fn stay_loaded() {
    if let Some(path) = object_of(stay_loaded as *mut c_void) {
        let _ = Object::loaded(&path);
    }
}

/// Whether an address lies in this library, or in a copy of it.
pub(super) fn is_ours(address: *mut c_void) -> bool {
    object_of(address).is_some_and(|path| {
        is_named(&path, b"libsslsweep") || Some(path) == object_of(is_ours as *mut c_void)
    })
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

/// The paths of all loaded objects with such a path.
pub(super) fn loaded_objects(wanted: fn(&CStr) -> bool) -> Vec<CString> {
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

pub(super) fn is_libssl(path: &CStr) -> bool {
    is_named(path, b"libssl")
}

pub(super) fn is_libcrypto(path: &CStr) -> bool {
    is_named(path, b"libcrypto")
}

/// `NAME.so...`, or `NAME-HASH.so...` as bundled with a program.
fn is_named(path: &CStr, name: &[u8]) -> bool {
    let path = path.to_bytes();
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    file.strip_prefix(name).is_some_and(|rest| rest.starts_with(b".so") || rest.starts_with(b"-"))
}
