//! The objects that are loaded in this process, and their symbol tables.
//!
//! All of it reads memory that the dynamic loader has set up. Nothing here takes the loader's lock, which is held by
//! whoever runs constructors, perhaps while they wait for a thread that calls us (contract P8). So no `dlsym`, `dlopen`
//! or `dladdr`: `dl_iterate_phdr` takes another lock, which is only held while the list of objects changes, and
//! `_dl_find_object` (glibc 2.35) takes none.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) use super::elf::Wanted;
use super::elf::{DT_FLAGS_1, DT_SONAME, Dynamic, Section};

/// A loaded object. It is looked into only while it is known to stay: while it calls us, while one that needs it does, or
/// inside [`find_object`].
#[derive(Debug, Clone)]
pub(crate) struct Object {
    base: usize,
    /// The addresses that it is mapped to.
    pub(super) range: Range<usize>,
    dynamic: *const Dynamic,
    name: *const c_char,
}

// SAFETY: what the pointers lead to is the loader's, and only read.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

impl Object {
    /// The object's path; empty for the program.
    pub(crate) fn path(&self) -> &CStr {
        if self.name.is_null() {
            return c"";
        }
        // SAFETY: the loader's name of the object, which stays as long as the object.
        unsafe { CStr::from_ptr(self.name) }
    }

    /// Returns whether the object is there still, and not another one in its place.
    pub(super) fn is_loaded(&self) -> bool {
        object_at(self.range.start).is_some_and(|found| found.is_same(self))
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.dynamic == other.dynamic && self.range.start == other.range.start
    }

    /// A number that tells this object from whatever was mapped at other addresses.
    pub(super) fn identity(&self) -> usize {
        self.range.start.rotate_left(40) ^ self.dynamic.addr()
    }

    /// Returns whether this and what follows it within the length of a few instructions is code of the object.
    pub(super) fn is_code(&self, address: usize) -> bool {
        const LENGTH: usize = 16;
        if !self.range.contains(&address) {
            return false;
        }
        let at_base: *const libc::Elf64_Ehdr = std::ptr::with_exposed_provenance(self.range.start);
        // SAFETY: an object is mapped from its beginning, and a page holds its header.
        let header = unsafe { &*at_base };
        let headers = self.range.start + header.e_phoff as usize;
        header.e_ident[..4] == *b"\x7fELF"
            && (0..header.e_phnum.into()).any(|number| {
                let headers: *const libc::Elf64_Phdr = std::ptr::with_exposed_provenance(headers);
                // SAFETY: one of the object's program headers, which lie in the same page.
                let header = unsafe { &*headers.wrapping_add(number) };
                let start = self.base.wrapping_add(header.p_vaddr as usize);
                let end = start.wrapping_add(header.p_memsz as usize);
                header.p_type == libc::PT_LOAD
                    && header.p_flags & libc::PF_X != 0
                    && (start..end.saturating_sub(LENGTH)).contains(&address)
            })
    }

    fn section(&self) -> Section<'_> {
        // SAFETY: the loader's section of an object that is loaded.
        unsafe { Section::new(self.base, &self.range, self.dynamic) }
    }

    /// Returns whether it is never unloaded (`-z nodelete`).
    pub(super) fn is_kept(&self) -> bool {
        const DF_1_NODELETE: usize = 8;
        self.section().value(DT_FLAGS_1).unwrap_or(0) & DF_1_NODELETE != 0
    }

    /// The name by which other objects need this one.
    pub(super) fn soname(&self) -> Option<&CStr> {
        self.section().string(self.section().value(DT_SONAME)?)
    }

    /// The names of the objects that this one needs.
    pub(super) fn needed(&self) -> impl Iterator<Item = &CStr> {
        self.section().needed()
    }

    /// The function of this name that a caller is bound to if the search comes to this object; NULL if it goes on.
    pub(super) fn function(&self, name: &CStr, wanted: Wanted<'_>) -> *mut c_void {
        let found = self.section().tables().and_then(|tables| tables.find(name, wanted));
        found.map_or(std::ptr::null_mut(), |value| {
            std::ptr::with_exposed_provenance_mut(self.base.wrapping_add(value))
        })
    }

    /// Returns whether the object has a function of this name, under any version.
    pub(super) fn defines(&self, name: &CStr) -> bool {
        !self.function(name, Wanted::Default).is_null()
    }

    /// The version node of a function that the object defines.
    pub(super) fn version_of(&self, name: &CStr) -> Option<&CStr> {
        self.section().tables()?.version_of(name)
    }

    /// Returns whether the object takes a function of this name from others.
    pub(super) fn imports(&self, wanted: &CStr) -> bool {
        self.has_import(|name, _| name == wanted)
    }

    /// Returns whether the object takes a function of this name from others, and the loader puts its address here.
    pub(super) fn imports_at(&self, wanted: &CStr, slot: *const usize) -> bool {
        self.has_import(|name, place| place == slot && name == wanted)
    }

    fn has_import(&self, wanted: impl Fn(&CStr, *const usize) -> bool) -> bool {
        let found = self.section().visit_imports(|name, slot| match wanted(name, slot) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        found.is_some()
    }

    /// A place that holds the address of a function which this object has taken from another one: the function's name
    /// has one of these prefixes, and its address is accepted. What has not been bound yet points into the object itself.
    pub(super) fn bound_slot(
        &self,
        prefixes: &[&[u8]],
        accepted: impl Fn(usize) -> bool,
    ) -> Option<*const usize> {
        self.section().visit_imports(|name, slot| {
            if prefixes.iter().any(|prefix| name.to_bytes().starts_with(prefix)) {
                let address = read_slot(slot);
                if !self.range.contains(&address) && accepted(address) {
                    return ControlFlow::Break(slot);
                }
            }
            ControlFlow::Continue(())
        })
    }
}

/// The address in a slot, which the loader may be writing at this moment.
pub(super) fn read_slot(slot: *const usize) -> usize {
    // SAFETY: a slot of an object that is loaded; aligned, as the processor's relocations are.
    unsafe { slot.read_volatile() }
}

/// The first loaded object that `wanted` accepts, in the order in which they were loaded: those that were there at the
/// start come first, in the order of the search for symbols.
///
/// `wanted` runs while no object can go, under the lock of the loader's list: it may read, and must neither allocate nor
/// call anybody.
pub(super) fn find_object(wanted: impl FnMut(&Object) -> bool) -> Option<Object> {
    struct Search<F> {
        wanted: F,
        found: Option<Object>,
    }
    unsafe extern "C" fn visit<F: FnMut(&Object) -> bool>(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        search: *mut c_void,
    ) -> c_int {
        // SAFETY: what was handed to dl_iterate_phdr below.
        let search = unsafe { &mut *search.cast::<Search<F>>() };
        // SAFETY: dl_iterate_phdr passes a valid description.
        let object = described(unsafe { &*info });
        match object.filter(|object| (search.wanted)(object)) {
            Some(object) => {
                search.found = Some(object);
                1
            }
            None => 0,
        }
    }
    fn with_visit<F: FnMut(&Object) -> bool>(
        _: &F,
    ) -> unsafe extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int {
        visit::<F>
    }
    let visit = with_visit(&wanted);
    let mut search = Search { wanted, found: None };
    // SAFETY: `visit` matches the prototype and the search, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

/// All loaded objects, in the same order. For the constructor: what has come by dlopen may go after that.
pub(super) fn loaded_objects() -> Vec<Object> {
    let mut count = 0;
    find_object(|_| {
        count += 1;
        false
    });
    // Room is made before, as memory is not to be asked for under that lock.
    let mut all = Vec::new();
    if all.try_reserve_exact(count).is_err() {
        return all;
    }
    find_object(|object| {
        if all.len() < count {
            all.push(object.clone());
        }
        false
    });
    all
}

fn described(info: &libc::dl_phdr_info) -> Option<Object> {
    let base = info.dlpi_addr as usize;
    let (mut start, mut end) = (usize::MAX, 0);
    let mut dynamic: *const Dynamic = std::ptr::null();
    for number in 0..info.dlpi_phnum {
        // SAFETY: one of the object's program headers.
        let header = unsafe { &*info.dlpi_phdr.wrapping_add(number.into()) };
        let at = base.wrapping_add(header.p_vaddr as usize);
        match header.p_type {
            libc::PT_LOAD => {
                start = start.min(at & !0xfff);
                end = end.max(at.wrapping_add(header.p_memsz as usize));
            }
            libc::PT_DYNAMIC => dynamic = std::ptr::with_exposed_provenance(at),
            _ => {}
        }
    }
    (start < end && !dynamic.is_null()).then_some(Object {
        base,
        range: start..end,
        dynamic,
        name: info.dlpi_name,
    })
}

/// The object that is mapped at an address.
pub(super) fn object_at(address: usize) -> Option<Object> {
    let contains = |object: &Object| object.range.contains(&address);
    match loader_find() {
        Some(find) => find(address),
        None => find_object(contains),
    }
}

type Find = unsafe extern "C" fn(*mut c_void, *mut Found) -> c_int;

/// `struct dl_find_object`, of which the first members are looked at.
#[repr(C)]
struct Found {
    flags: u64,
    start: usize,
    end: usize,
    link: *const Link,
    others: [usize; 12],
}

/// The public part of `struct link_map`.
#[repr(C)]
struct Link {
    base: usize,
    name: *const c_char,
    dynamic: *const Dynamic,
}

/// glibc's `_dl_find_object`, where there is one.
fn loader_find() -> Option<impl Fn(usize) -> Option<Object>> {
    const NAME: &CStr = c"_dl_find_object";
    /// Stands for the address of a function that is not there. (Not asked again: whatever is loaded later
    /// is not the loader.)
    const NONE: usize = 1;
    static FIND: AtomicUsize = AtomicUsize::new(0);
    let mut address = FIND.load(Ordering::Relaxed);
    if address == 0 {
        let loader = find_object(|object| object.defines(NAME));
        address = loader.map_or(NONE, |loader| loader.function(NAME, Wanted::Default).addr());
        FIND.store(address, Ordering::Relaxed);
    }
    if address == NONE {
        return None;
    }
    let function: *mut c_void = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: a function under this name is this function, and the loader's own object stays.
    let find: Find = unsafe { std::mem::transmute(function) };
    Some(move |address: usize| {
        let mut found = std::mem::MaybeUninit::<Found>::zeroed();
        // SAFETY: any address may be asked about, and there is room for the answer.
        if unsafe { find(std::ptr::without_provenance_mut(address), found.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: zero, or filled in.
        let found = unsafe { found.assume_init() };
        // SAFETY: the loader's description of an object, which stays while somebody at this address calls us.
        let link = unsafe { found.link.as_ref() }?;
        Some(Object {
            base: link.base,
            range: found.start..found.end,
            dynamic: link.dynamic,
            name: link.name,
        })
    })
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    fn own() -> Object {
        object_at(own as *const () as usize).unwrap()
    }

    #[test]
    fn an_address_has_one_object_whoever_is_asked() {
        let mine = own();
        let by_list =
            find_object(|object| object.range.contains(&(own as *const () as usize))).unwrap();
        assert_eq!(mine.dynamic, by_list.dynamic);
        assert_eq!(mine.range.start, by_list.range.start);
        assert!(mine.is_loaded());
        assert!(object_at(16).is_none());
    }

    #[test]
    fn functions_are_found_as_the_loader_finds_them() {
        let libc = find_object(|object| {
            object.soname().is_some_and(|name| name.to_bytes().starts_with(b"libc.so"))
        })
        .unwrap();
        for name in [c"malloc", c"dl_iterate_phdr", c"pthread_atfork", c"secure_getenv"] {
            // SAFETY: a string.
            let wanted = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            if !wanted.is_null() {
                assert_eq!(libc.function(name, Wanted::Default), wanted, "{name:?}");
            }
        }
        assert!(libc.function(c"no such function", Wanted::Default).is_null());
        assert_eq!(libc.version_of(c"secure_getenv"), Some(c"GLIBC_2.17"));
        assert!(!libc.function(c"secure_getenv", Wanted::Node(c"GLIBC_2.17")).is_null());
        assert!(libc.function(c"secure_getenv", Wanted::Node(c"GLIBC_2.4")).is_null());
    }

    #[test]
    fn imports_are_where_the_loader_has_put_them() {
        let mine = own();
        let libc = find_object(|object| {
            object.defines(c"malloc") && object.path().to_bytes().ends_with(b"libc.so.6")
        })
        .unwrap();
        let slot = mine
            .bound_slot(&[b"malloc", b"write"], |address| libc.range.contains(&address))
            .unwrap();
        assert!(libc.range.contains(&read_slot(slot)));
        assert!(mine.imports(c"dl_iterate_phdr") && !mine.imports(c"no such function"));
        assert!(mine.needed().any(|name| name == c"libc.so.6"));
    }
}
