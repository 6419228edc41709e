//! The real libssl, or each of several, and the libcrypto beside it.
//!
//! Those that are there at the start come first in the search for symbols, so one of them serves every caller of
//! its node. Others come by `dlopen`, mostly with `RTLD_LOCAL` (Python's `_ssl` and many plug-ins), and are met with the
//! first call from an object that is linked with them ([`super::caller`]). Each is resolved once. None gets a reference
//! from us: libssl keeps itself in the process, and whatever is linked with it must be free to go.

use std::ffi::{CStr, c_char, c_ulong, c_void};

use once_cell::race::OnceBox;

use super::node::{Node, ONE_NAMESPACE};
use super::object::{Object, Wanted, find_object, loaded_objects, object_at};
use super::symbols::{Api, RealFns};
use super::types::{OpenSslVersion, SSL_METHOD};
use crate::{memory, options, report};

/// How many libssl of one process are taken over.
pub(crate) const MAX_LIBSSL: usize = 8;
/// A real libssl, found in this process.
#[derive(Debug)]
pub(crate) struct Libssl {
    /// The functions behind our exports.
    pub(crate) real: RealFns,
    /// The functions that the takeover calls; `None` when this libssl is to be left alone.
    pub(crate) api: Option<Api>,
    /// Its place among the libssl of this process.
    pub(crate) index: usize,
    /// Its calls to its own functions reach ours (Debian, Ubuntu), or stay inside (upstream's `-Bsymbolic`).
    pub(super) calls_itself_through_plt: bool,
    /// `OpenSSL_version_num()`.
    version: c_ulong,
    object: Object,
    libcrypto: Option<Object>,
    /// It was there at the start, and is never unloaded.
    stays: bool,
}

// Races instead of locks: a thread that waits for a lock of ours while it holds the loader's could stop everybody.

/// Every libssl that was found. None is forgotten.
static FOUND: [OnceBox<Libssl>; MAX_LIBSSL] = [const { OnceBox::new() }; MAX_LIBSSL];

/// The objects that were there when this library was loaded.
#[derive(Debug)]
pub(super) struct Start {
    /// The object that this code lies in: the shared library, or the program or plug-in that is linked with the static one.
    pub(super) ours: Object,
    /// The objects that every search for a symbol comes to, in its order. None of them ever goes, so that they can be
    /// looked into without the loader's list: in a child of a fork, another thread may have been reading that for ever.
    globals: Vec<Object>,
    /// The place of ours behind which the search goes on; none behind it if ours is not among them.
    behind: usize,
    /// The first libssl behind us for each node.
    first: [Option<&'static Libssl>; Node::ALL.len()],
}

static START: OnceBox<Start> = OnceBox::new();

/// A function that every libssl has and nobody has a reason to wrap, unlike SSL_CTX_new.
pub(super) const ANCHOR: &CStr = c"SSL_SESSION_get_timeout";

/// The same for libcrypto.
pub(super) const ANCHOR_OF_LIBCRYPTO: &CStr = c"OpenSSL_version_num";

/// The objects that there were at the start. Made by the constructor, or by a call from a constructor that comes before it.
#[inline]
pub(super) fn start() -> &'static Start {
    START.get().unwrap_or_else(|| START.get_or_init(|| Box::new(Start::look())))
}

impl Start {
    fn look() -> Self {
        let ours = object_at(Self::look as fn() -> Self as usize);
        let ours = ours.unwrap_or_else(|| unreachable!("this code lies in an object"));
        let mut globals = loaded_objects();
        globals.truncate(count_at_start(&globals));
        let own = globals.iter().position(|object| object.is_same(&ours));
        let behind = own.map_or(globals.len(), |own| own + 1);
        let mut start = Self { ours, globals, behind, first: [None; Node::ALL.len()] };
        start.first = Node::ALL.map(|node| {
            let object = start.behind_us().find(|object| object.has_libssl_of(node))?;
            load(object, &start)
        });
        start
    }

    /// The libssl that every caller of a node is linked with.
    #[inline]
    pub(super) fn libssl(&self, node: Node) -> Option<&'static Libssl> {
        self.first[node as usize]
    }

    /// The objects of the start that come after ours in the search for symbols.
    fn behind_us(&self) -> impl Iterator<Item = &Object> {
        self.globals[self.behind..].iter().filter(|object| !is_another_copy(object))
    }

    /// The function of this name of an object, or of a wrapper around it: other libraries may be preloaded after us, and what
    /// they wrap stays wrapped. (An object of the start that is a libssl itself wraps nothing.)
    fn function(&self, object: &Object, name: &CStr) -> *mut c_void {
        if ONE_NAMESPACE {
            let first = self.function_behind_us(Node::Own, name);
            return if first.is_null() { object.function(name, Wanted::Default) } else { first };
        }
        let version = object.version_of(name);
        let wanted = version.map_or(Wanted::Default, Wanted::Node);
        let mut before = self.behind_us().take_while(|next| !next.is_same(object));
        let wrapper =
            before.find(|next| !next.function(name, wanted).is_null() && !next.defines(ANCHOR));
        wrapper.unwrap_or(object).function(name, wanted)
    }

    /// Returns whether several libssl are there in one namespace, so that functions of both may be called on one object.
    fn has_mixed(&self) -> bool {
        ONE_NAMESPACE && self.behind_us().filter(|object| object.defines(ANCHOR)).nth(1).is_some()
    }

    /// The function of the first program or library of the start that a caller of this node gets it from.
    pub(super) fn function_behind_us(&self, node: Node, name: &CStr) -> *mut c_void {
        let wanted = node.version().map_or(Wanted::Unversioned, Wanted::Node);
        let mut found = self.behind_us().map(|object| object.function(name, wanted));
        found.find(|function| !function.is_null()).unwrap_or(std::ptr::null_mut())
    }

    /// The path of an object that comes before us for callers of a libssl that is there from the start. They call that, not us.
    pub(super) fn comes_first(&self) -> Option<&CStr> {
        const NAME: &CStr = c"SSL_CTX_new";
        let mut others = self.globals.iter().filter(|object| !object.is_same(&self.ours));
        let version = others.find(|object| object.defines(ANCHOR))?.version_of(NAME);
        let wanted = version.map_or(Wanted::Unversioned, Wanted::Node);
        let mut all = self.globals.iter();
        let first = all.find(|object| !object.function(NAME, wanted).is_null())?;
        (!first.is_same(&self.ours)).then(|| first.path())
    }
}

/// How many objects at the beginning of the loader's list were there at the start: the program, what is preloaded, and
/// all that these need. What constructors have loaded since comes after them.
fn count_at_start(all: &[Object]) -> usize {
    let mut names = Vec::new();
    if names.try_reserve_exact(all.len()).is_err() {
        return 0;
    }
    names.extend(all.iter().map(|object| (object.soname(), object.path())));
    let place = |needed: &CStr| {
        names.iter().position(|&(soname, path)| {
            soname == Some(needed) || file_name(path) == needed.to_bytes() || path == needed
        })
    };
    let (mut known, mut next) = (1, 0);
    while next < known.min(all.len()) {
        let places = all[next].needed().filter_map(place);
        known = places.map(|place| place + 1).fold(known, usize::max);
        next += 1;
    }
    known
}

/// Returns whether an object is this library once more: two would take over.
fn is_another_copy(object: &Object) -> bool {
    object.defines(c"sslsweep_version")
}

impl Object {
    /// Returns whether callers of this node may be linked with this object's functions.
    pub(super) fn has_libssl_of(&self, node: Node) -> bool {
        let wanted = node.version().map_or(Wanted::Unversioned, Wanted::Node);
        !self.function(ANCHOR, wanted).is_null()
    }

    /// Returns whether the object is a libssl of its own, and not an OpenSSL inside of something else: its functions have
    /// OpenSSL's version nodes, or it has the name.
    fn is_libssl(&self) -> bool {
        let versioned = self
            .version_of(ANCHOR)
            .is_some_and(|version| Node::ALL.iter().any(|node| node.version() == Some(version)));
        versioned || is_named(self.path(), b"libssl")
    }

    /// The libcrypto that a libssl, or another object, is linked with.
    pub(super) fn libcrypto(&self) -> Option<Self> {
        if self.defines(ANCHOR_OF_LIBCRYPTO) {
            return Some(self.clone());
        }
        let is_libcrypto =
            |address| object_at(address).is_some_and(|found| found.defines(ANCHOR_OF_LIBCRYPTO));
        let prefixes: [&[u8]; 5] = [b"CRYPTO_", b"OPENSSL_", b"ERR_", b"EVP_", b"BIO_"];
        if let Some(slot) = self.bound_slot(&prefixes, is_libcrypto) {
            return object_at(self.read_slot(slot)?);
        }
        self.needed().find_map(|needed| {
            find_object(|object| {
                object.soname() == Some(needed) && object.defines(ANCHOR_OF_LIBCRYPTO)
            })
        })
    }
}

fn file_name(path: &CStr) -> &[u8] {
    let path = path.to_bytes();
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// `NAME.so...`, or `NAME-HASH.so...` as bundled with a program.
fn is_named(path: &CStr, name: &[u8]) -> bool {
    file_name(path)
        .strip_prefix(name)
        .is_some_and(|rest| rest.starts_with(b".so") || rest.starts_with(b"-"))
}

/// The libssl with this index.
#[inline]
pub(crate) fn by_index(index: usize) -> Option<&'static Libssl> {
    FOUND.get(index)?.get()
}

/// The libssl that an address lies in, if it was found before and is there still.
pub(super) fn known_at(address: usize) -> Option<&'static Libssl> {
    let mut known = FOUND.iter().map_while(OnceBox::get);
    known.find(|libssl| libssl.contains(address) && (libssl.stays || libssl.object.is_loaded()))
}

/// The libssl that an object is. `None` for an OpenSSL inside of something else, and if there are too many.
pub(super) fn libssl_of_object(object: &Object) -> Option<&'static Libssl> {
    load(object, start())
}

/// The libssl that a method is a constant of.
pub(crate) fn libssl_of_method(method: *const SSL_METHOD) -> Option<&'static Libssl> {
    if method.is_null() {
        return None;
    }
    known_at(method.addr()).or_else(|| {
        let object = object_at(method.addr())?;
        if object.defines(ANCHOR) { libssl_of_object(&object) } else { None }
    })
}

/// Keeps this library in the process: libssl gets functions of ours, and may outlive the plug-in that has us inside.
///
/// The shared library is linked with `-z nodelete`. A plug-in that has the static one inside is kept by a reference, which is
/// taken by its own constructor, where the loader's lock is this thread's.
pub(crate) fn stay_loaded() {
    let ours = &start().ours;
    if !ours.path().is_empty() && !ours.is_kept() {
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        // SAFETY: a string; the object is loaded, so no constructor runs.
        unsafe { libc::dlopen(ours.path().as_ptr(), flags) };
    }
}

/// Opens a library that lies in the folder of this one; else, or where that is not known, one that the loader finds. Returns the
/// address of a function that it exports. Only for our own constructor, as [`stay_loaded`].
pub(crate) fn open_beside_us(name: &CStr, function: &CStr) -> Option<*mut c_void> {
    let ours = start().ours.path().to_bytes();
    let folder = ours.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let beside = [&ours[..folder], name.to_bytes_with_nul()].concat();
    let beside = CStr::from_bytes_with_nul(&beside).ok()?;
    let open = |path: &CStr| {
        // SAFETY: a string. The library's constructors are the Rust runtime's.
        !unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) }.is_null()
    };
    if !open(beside) && !open(name) {
        return None;
    }
    let object = find_object(|object| object.soname() == Some(name))?;
    Some(object.function(function, Wanted::Default)).filter(|address| !address.is_null())
}

/// Takes a libssl among those that are served.
fn load(object: &Object, start: &Start) -> Option<&'static Libssl> {
    if !object.is_libssl() {
        return None;
    }
    for (index, place) in FOUND.iter().enumerate() {
        if place.get().is_none() {
            let (libssl, version, refusal) = Libssl::open(object, index, start);
            if place.set(memory::boxed(libssl)?).is_ok() && options::get().verbose {
                report_found(object.path(), version, refusal);
            }
        }
        // Another thread may have been faster, with this one or with another.
        if let Some(libssl) = place.get().filter(|libssl| libssl.object.is_same(object)) {
            return Some(libssl);
        }
    }
    None
}

impl Libssl {
    /// Resolves the functions of a libssl. Returns also the text of its version, and why it is left alone if it is.
    fn open(
        object: &Object,
        index: usize,
        start: &Start,
    ) -> (Self, &'static CStr, Option<Refusal>) {
        let real = RealFns::of(|name| start.function(object, name));
        let libcrypto = object.libcrypto();
        let own = |name: &CStr| own_function(object, libcrypto.as_ref(), name);
        let (version, text) = version(own);
        let api = usable(own, version, text).and_then(|api| match start.has_mixed() {
            true => Err(["several libssl are loaded, which musl does not keep apart", ""]),
            false => Ok(api),
        });
        let refusal = api.as_ref().err().copied();
        let api = api.ok();
        let calls_itself_through_plt = object.imports(c"SSL_CTX_new_ex");
        let stays = start.globals.iter().any(|global| global.is_same(object));
        let object = object.clone();
        let libssl =
            Self { real, api, index, calls_itself_through_plt, version, object, libcrypto, stays };
        (libssl, text, refusal)
    }

    pub(super) fn object(&self) -> &Object {
        &self.object
    }

    /// The function of this name of this libssl, or of its libcrypto; NULL if there is none.
    pub(crate) fn own_function(&self, name: &CStr) -> *mut c_void {
        own_function(&self.object, self.libcrypto.as_ref(), name)
    }

    /// Returns whether callers of this node may be linked with it.
    pub(super) fn serves(&self, node: Node) -> bool {
        node == Node::Own || self.object.version_of(ANCHOR) == node.version()
    }

    /// Returns whether an address lies in this libssl.
    #[inline]
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.object.range.contains(&address)
    }

    /// Returns whether a session from a get callback that is marked not resumable is ignored: so since the
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

/// The function of this name of a libssl, or of its libcrypto.
fn own_function(libssl: &Object, libcrypto: Option<&Object>, name: &CStr) -> *mut c_void {
    let function = libssl.function(name, Wanted::Default);
    match libcrypto {
        Some(libcrypto) if function.is_null() => libcrypto.function(name, Wanted::Default),
        _ => function,
    }
}

/// Why a libssl is left alone, in two parts of one text.
type Refusal = [&'static str; 2];

fn report_found(path: &CStr, version: &CStr, refusal: Option<Refusal>) {
    let (path, version) = (report::Text(path), report::Text(version));
    match refusal {
        None => report::line(format_args!("found {path} ({version})")),
        Some([reason, of]) => {
            report::line(format_args!("does not take over {path} ({version}): {reason}{of}"));
        }
    }
}

/// The functions that the takeover calls in a libssl.
fn usable(
    function: impl Fn(&CStr) -> *mut c_void,
    version: c_ulong,
    text: &CStr,
) -> Result<Api, Refusal> {
    if options::get().disable {
        return Err(["SSLSWEEP_DISABLE=1", ""]);
    }
    if !text.to_bytes().starts_with(b"OpenSSL ") || version < 0x1010_1000 {
        return Err(["not OpenSSL 1.1.1 or later", ""]);
    }
    let api = Api::resolve(function).map_err(|missing| ["it has no ", missing])?;
    if api.SSL_SESSION_get_time_ex.is_none() && api.SSL_SESSION_get_time.is_none() {
        return Err(["it has no ", "SSL_SESSION_get_time_ex"]);
    }
    Ok(api)
}

/// `OpenSSL_version_num` and the text of `OpenSSL_version`.
fn version(function: impl Fn(&CStr) -> *mut c_void) -> (c_ulong, &'static CStr) {
    const UNKNOWN: &CStr = c"unknown version";
    let (number, text) = (function(ANCHOR_OF_LIBCRYPTO), function(c"OpenSSL_version"));
    // SAFETY: an address under this name is this function, by OpenSSL's ABI, and NULL is `None`. It has no preconditions.
    let number: Option<extern "C" fn() -> c_ulong> = unsafe { std::mem::transmute(number) };
    // SAFETY: as above.
    let text: Option<OpenSslVersion> = unsafe { std::mem::transmute(text) };
    let (Some(number), Some(text)) = (number, text) else { return (0, UNKNOWN) };
    // SAFETY: has no preconditions; 0 is OPENSSL_VERSION.
    let text: *const c_char = unsafe { text(0) };
    // SAFETY: OpenSSL_version returns a static string.
    (number(), if text.is_null() { UNKNOWN } else { unsafe { CStr::from_ptr(text) } })
}
