//! The libssl that a call is for.
//!
//! The version node names it where a libssl of that node was there at the start (with musl, which knows no nodes, where any
//! was there). Where all came later, several may have
//! one node (Python's own and one that a wheel has brought along, say), so the object that the call comes from is looked
//! at: the dynamic loader has bound its other calls to libssl, past us, and the places where it keeps their
//! addresses tell which one. The object is where the call returns to. That is another object's where the compiler has made
//! a jump of the last call in a function, so it counts only if it has to do with the function that was called.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::find::{ANCHOR, Libssl, known_at, libssl_of_object, start};
use super::node::{Node, ONE_NAMESPACE};
use super::object::{Object, Wanted, find_object, object_at};
use super::symbols::RealFns;
use crate::guard::guard;
use crate::{options, report};

/// The caller of an export; made by the entry (`src/exports/entries.rs`).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Caller {
    node: Node,
    returns_to: usize,
}

// Not under Miri, which has no symbols.
#[cfg(not(miri))]
unsafe extern "C" {
    /// The plain name (`src/exports/entries.rs`).
    fn SSL_CTX_new_ex();
}
#[cfg(miri)]
unsafe extern "C" fn SSL_CTX_new_ex() {}

thread_local! {
    /// The libssl that this thread is in a call of ours to, where the node does not tell.
    static CALLED: Cell<Option<&'static Libssl>> = const { Cell::new(None) };
    /// The libssl that this thread has called last, where the node does not tell.
    static LAST: Cell<Option<&'static Libssl>> = const { Cell::new(None) };
}

/// Restores what was called before, also when the program's code leaves by an exception or ends the thread.
struct Restore(Option<&'static Libssl>);

impl Drop for Restore {
    fn drop(&mut self) {
        CALLED.set(self.0);
    }
}

impl Caller {
    /// The libssl that the caller of the function `name` is linked with; `None` if there is none that is served, or several
    /// that it may be.
    #[inline(always)]
    pub(crate) fn libssl(self, name: &'static CStr) -> Option<&'static Libssl> {
        match start().libssl(self.node) {
            // The static library's plain names, and an unversioned flush, are everybody's.
            Some(first) if self.node != Node::Own || ONE_NAMESPACE => Some(first),
            first => self.among_several(name, first),
        }
    }

    /// The same where the node does not say it.
    #[inline(never)]
    fn among_several(
        self,
        name: &'static CStr,
        first: Option<&'static Libssl>,
    ) -> Option<&'static Libssl> {
        if self.is_ours() {
            // A function of libssl that we have called has jumped to another one, through the PLT.
            if let Some(called) = CALLED.get().or(first) {
                return Some(called);
            }
        }
        // libssl's own calls go through the PLT.
        known_at(self.returns_to).or_else(|| guard(None, || self.linked(name)))
    }

    /// Calls `use_it` with the functions behind the exports as this caller is linked with them: those of `known`, the libssl
    /// of the object that the call is about, if that is known.
    #[inline(always)]
    pub(crate) fn with_real<R>(
        self,
        name: &'static CStr,
        known: Option<&'static Libssl>,
        use_it: impl FnOnce(&RealFns) -> Option<R>,
    ) -> Option<R> {
        if let Some(libssl) = known.or_else(|| self.libssl(name)) {
            let _restore = (self.node == Node::Own || start().libssl(self.node).is_none())
                .then(|| Restore(CALLED.replace(Some(libssl))));
            return use_it(&libssl.real);
        }
        self.with_other(name, use_it)
    }

    /// The same for an OpenSSL inside of a plug-in or a program. It is looked at each time, since it may be gone with the next
    /// call.
    #[cold]
    fn with_other<R>(
        self,
        name: &'static CStr,
        use_it: impl FnOnce(&RealFns) -> Option<R>,
    ) -> Option<R> {
        let object = self.object(name).or_else(|| self.only_one(name))?;
        use_it(&RealFns::of(|name| object.function(name, Wanted::Default)))
    }

    /// Returns whether the call comes from the object that this code lies in.
    #[inline]
    fn is_ours(self) -> bool {
        start().ours.range.contains(&self.returns_to)
    }

    /// Returns whether a context that the caller makes is ours to take over. It is not if libssl makes it for a program that has
    /// called past us, by a handle of its own: all that the program sets would pass us by (contract P12).
    ///
    /// libssl's SSL_CTX_new jumps to SSL_CTX_new_ex through the PLT (Debian, Ubuntu), so that this looks like a call
    /// by whoever called that.
    pub(crate) fn makes_its_own(self, name: &'static CStr, libssl: &Libssl) -> bool {
        if libssl.contains(self.returns_to) {
            return false;
        }
        !libssl.calls_itself_through_plt
            || name != c"SSL_CTX_new_ex"
            || object_at(self.returns_to).is_some_and(|caller| {
                match called(&caller, self.returns_to) {
                    Called::Slot(slot) => caller.imports_at(name, slot),
                    // A function that the static library has put into a program is called there like its own.
                    Called::Code(code) => {
                        code == (SSL_CTX_new_ex as *const ()).addr() && self.is_ours()
                    }
                }
            })
    }

    /// The libssl that the caller's object is linked with, found before or now.
    fn linked(self, name: &'static CStr) -> Option<&'static Libssl> {
        let caller = object_at(self.returns_to)?;
        let place = Place::of(&caller, name);
        let remembered = place.slot(&caller).and_then(|slot| known_at(caller.read_slot(slot)?));
        let libssl = remembered.or_else(|| {
            let object = self.object(name).or_else(|| self.only_one(name))?;
            let libssl = libssl_of_object(&object)?;
            // Without a slot, or for libssl itself, all of this is done again next time.
            let slot = bound_to_libssl(&caller, |address| libssl.contains(address));
            if let Some(slot) = slot {
                place.remember(slot);
            }
            Some(libssl)
        });
        LAST.set(libssl);
        libssl
    }

    /// The object whose functions the caller's object is linked with, or that it is itself.
    fn object(self, name: &CStr) -> Option<Object> {
        let caller = object_at(self.returns_to)?;
        let is_ours = self.is_ours();
        if !is_ours && self.is_provider(&caller, name) {
            return Some(caller);
        }
        if !is_ours && !caller.imports(name) {
            return None;
        }
        let provides =
            |address| object_at(address).is_some_and(|object| self.is_provider(&object, name));
        bound_to_libssl(&caller, provides)
            .and_then(|slot| object_at(caller.read_slot(slot)?))
            .or_else(|| {
                // Nothing else of it has been bound yet.
                caller.needed().find_map(|needed| {
                    find_object(|object| {
                        object.soname() == Some(needed) && self.is_provider(object, name)
                    })
                })
            })
    }

    /// Returns whether an object other than ours is a libssl for this caller, or has at least the function that was called: a
    /// library may have a flush of its own and nothing else.
    fn is_provider(self, object: &Object, name: &CStr) -> bool {
        let anchor = if self.node == Node::Own { name } else { ANCHOR };
        (object.defines(ANCHOR) || object.defines(anchor)) && !object.is_same(&start().ours)
    }

    /// The only object that callers of this node can be linked with. Of several it is the one that this thread has called last.
    /// If there is none, a call that would write into memory of another make does nothing, and any other goes to the
    /// first.
    fn only_one(self, name: &CStr) -> Option<Object> {
        let mut candidates = 0;
        let mut first = None;
        find_object(|object| {
            let fits = self.node == Node::Own || object.version_of(ANCHOR) == self.node.version();
            if fits && self.is_provider(object, name) {
                candidates += 1;
                if candidates == 1 {
                    first = Some(object.clone());
                }
            }
            false
        });
        if candidates == 0 && self.node != Node::Own {
            // A function of a later release that was looked up by its version (`dlvsym`): for whatever libssl there is.
            return Self { node: Node::Own, ..self }.only_one(name);
        }
        if candidates > 1 {
            static SAID: AtomicBool = AtomicBool::new(false);
            if options::get().verbose && !SAID.swap(true, Ordering::Relaxed) {
                report::line(format_args!(
                    "{candidates} libssl are loaded, and a call of {} does not tell which one it is for",
                    report::Text(name)
                ));
            }
            // A flush and a setter would write into an object of another make.
            let writes: [&[u8]; 2] = [b"SSL_CTX_flush_sessions", b"SSL_SESSION_set"];
            let last = LAST.get().filter(|last| last.serves(self.node));
            return match last {
                Some(last) => Some(last.object().clone()),
                None if writes.iter().any(|name_of| name.to_bytes().starts_with(name_of)) => None,
                None => first,
            };
        }
        first
    }

    /// A caller that musl's loader has bound.
    #[cfg(target_env = "musl")]
    pub(crate) fn without_node(returns_to: usize) -> Self {
        Self { node: Node::Own, returns_to }
    }

    /// Returns whether every caller would reach a libssl of OpenSSL's.
    #[cfg(target_env = "musl")]
    pub(crate) fn all_have_openssl() -> bool {
        let first = start().libssl(Node::Own);
        first.is_some_and(|libssl| libssl.api.is_some() || is_openssl(libssl.object(), ANCHOR))
    }

    /// The function that the caller would reach without us, if it is not OpenSSL's; else NULL.
    #[cfg(target_env = "musl")]
    pub(crate) fn elsewhere(self, name: &'static CStr) -> *mut c_void {
        const OURS: *mut c_void = std::ptr::null_mut();
        if self.is_ours() {
            return OURS;
        }
        let mut function = start().function_behind_us(Node::Own, name);
        if function.is_null() {
            if self.libssl(name).is_some_and(|libssl| libssl.api.is_some()) {
                return OURS;
            }
            let Some(object) = self.object(name) else { return OURS };
            function = object.function(name, Wanted::Default);
        }
        match object_at(function.addr()) {
            Some(object) if !is_openssl(&object, name) => function,
            _ => OURS,
        }
    }

    /// A function of the caller's libcrypto, in a process that need not have libssl.
    pub(crate) fn libcrypto_function(self, name: &'static CStr) -> *mut c_void {
        let start = start();
        let next = start.function_behind_us(self.node, name);
        if !next.is_null() && (self.node != Node::Own || ONE_NAMESPACE || self.is_ours()) {
            return next;
        }
        let caller = object_at(self.returns_to);
        let own =
            caller.filter(|caller| self.is_ours() || caller.imports(name) || caller.defines(name));
        let own = own.and_then(|caller| caller.libcrypto());
        if let Some(own) = own.filter(|own| !own.is_same(&start.ours)) {
            return own.function(name, Wanted::Default);
        }
        if !next.is_null() {
            return next;
        }
        let any = find_object(|object| {
            let wanted = self.node.version().map_or(Wanted::Unversioned, Wanted::Node);
            !object.function(name, wanted).is_null() && !object.is_same(&start.ours)
        });
        any.map_or(std::ptr::null_mut(), |any| any.function(name, Wanted::Default))
    }
}

/// Returns whether a function is OpenSSL's own, by its version node: libraries with the same names have others, or none.
#[cfg(target_env = "musl")]
fn is_openssl(object: &Object, name: &CStr) -> bool {
    object.version_of(name).is_some_and(|node| node.to_bytes().starts_with(b"OPENSSL_"))
}

/// The target of the call instruction before a return address.
enum Called {
    /// The function whose address the loader has put here.
    Slot(usize),
    /// The function at this address.
    Code(usize),
}

/// On x86-64 a function of another object is called through its slot, `call *slot(%rip)`, or through a stub that jumps
/// there. Any other indirect call is one of an address that the program keeps itself, from `dlsym`.
#[cfg(target_arch = "x86_64")]
fn called(caller: &Object, returns_to: usize) -> Called {
    let relative = |from: usize, offset: [u8; 4]| {
        from.wrapping_add_signed(i32::from_le_bytes(offset) as isize)
    };
    match caller.code(returns_to - 6) {
        Some([_, 0xe8, offset @ ..]) => {
            let target = relative(returns_to, offset);
            // Or it is not that instruction, only the end of another one that looks like it.
            if !caller.is_code(target) {
                return Called::Code(0);
            }
            let has =
                |at: usize, bytes: &[u8]| caller.code(at).is_some_and(|is| is.starts_with(bytes));
            let after_endbr64 = target + if has(target, &[0xf3, 0x0f, 0x1e, 0xfa]) { 4 } else { 0 };
            let jump = after_endbr64 + usize::from(has(after_endbr64, &[0xf2])); // bnd
            match caller.code(jump) {
                Some([0xff, 0x25, offset @ ..]) => Called::Slot(relative(jump + 6, offset)),
                _ => Called::Code(target),
            }
        }
        Some([0xff, 0x15, offset @ ..]) => Called::Slot(relative(returns_to, offset)),
        _ => Called::Code(0),
    }
}

/// On arm64 it is called through a stub, `adrp x16, page; ldr x17, [x16, offset]; ...; br x17`. A call by a register is one of
/// an address that the program keeps. (Or it was compiled with `-fno-plt`, which cannot be told from that.)
#[cfg(target_arch = "aarch64")]
fn called(caller: &Object, returns_to: usize) -> Called {
    const BTI_C: u32 = 0xd503_245f;
    let call = returns_to - 4;
    let target = match caller.instruction(call) {
        // bl, with a distance of 26 bits, in instructions
        Some(bl) if bl >> 26 == 0b10_0101 => {
            call.wrapping_add_signed(((bl << 6) as i32 >> 4) as isize)
        }
        _ => return Called::Code(0),
    };
    if !caller.is_code(target) {
        return Called::Code(0);
    }
    let stub = if caller.instruction(target) == Some(BTI_C) { target + 4 } else { target };
    match (caller.instruction(stub), caller.instruction(stub + 4)) {
        (Some(adrp), Some(ldr))
            if adrp & 0x9f00_001f == 0x9000_0010 && ldr & 0xffc0_03ff == 0xf940_0211 =>
        {
            // A distance of 21 bits, in units of 4096 bytes, whose lowest two are apart.
            let pages = ((adrp << 8) as i32 >> 13 << 2) | (adrp >> 29 & 0b11) as i32;
            let page = (stub & !0xfff).wrapping_add_signed((pages as isize) << 12);
            Called::Slot(page + (ldr >> 10 & 0xfff) as usize * size_of::<usize>())
        }
        _ => Called::Code(target),
    }
}

/// The slot of an object into which the loader has put the address of a function of libssl, if the address is accepted.
fn bound_to_libssl(caller: &Object, accepted: impl Fn(usize) -> bool) -> Option<usize> {
    let prefixes: [&[u8]; 4] = [b"SSL_", b"TLS_", b"DTLS_", b"OPENSSL_init_ssl"];
    caller.bound_slot(&prefixes, accepted)
}

/// Remembers the callers of a function in one object: a slot, which is read again with each call, so that
/// another object in the place of one that has gone is told by its own.
struct Place {
    remembered: &'static Remembered,
    key: usize,
}

#[derive(Debug)]
struct Remembered {
    key: AtomicUsize,
    slot: AtomicUsize,
}

const REMEMBERED: usize = 256;
static SLOTS: [Remembered; REMEMBERED] =
    [const { Remembered { key: AtomicUsize::new(0), slot: AtomicUsize::new(0) } }; REMEMBERED];

impl Place {
    fn of(caller: &Object, name: &'static CStr) -> Self {
        let key = (caller.identity() ^ name.as_ptr().addr().rotate_left(12)) | 1;
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        Self { remembered: &SLOTS[hash % REMEMBERED], key }
    }

    fn slot(&self, caller: &Object) -> Option<usize> {
        let Remembered { key, slot } = self.remembered;
        if key.load(Ordering::Acquire) != self.key {
            return None;
        }
        let found = slot.load(Ordering::Acquire);
        // Unchanged meanwhile, so the slot belongs to the key.
        let is_same = key.load(Ordering::Acquire) == self.key;
        (is_same && caller.range.contains(&found)).then_some(found)
    }

    fn remember(&self, slot: usize) {
        /// Not a key, which are odd. A child that was forked meanwhile remembers nothing here, and looks each time.
        const BUSY: usize = 2;
        let Remembered { key, slot: place } = self.remembered;
        let former = key.load(Ordering::Relaxed);
        let taken =
            || key.compare_exchange(former, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if former != BUSY && taken() {
            place.store(slot, Ordering::Release);
            key.store(self.key, Ordering::Release);
        }
    }
}
