//! The objects that are loaded in this process, and their symbol tables.
//!
//! All of it reads memory that the dynamic loader has set up. Nothing here takes the loader's lock, which is held by
//! whoever runs constructors, perhaps while they wait for a thread that calls us (contract P8). So no `dlsym`, `dlopen`
//! or `dladdr`: `dl_iterate_phdr` takes another lock, which is only held while the list of objects changes, and
//! `_dl_find_object` (glibc 2.35) takes none.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An entry of a dynamic section.
#[repr(C)]
struct Dynamic {
    tag: i64,
    value: usize,
}

const DT_NULL: i64 = 0;
const DT_NEEDED: i64 = 1;
const DT_PLTRELSZ: i64 = 2;
const DT_HASH: i64 = 4;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_SONAME: i64 = 14;
const DT_JMPREL: i64 = 23;
const DT_GNU_HASH: i64 = 0x6fff_fef5;
const DT_FLAGS_1: i64 = 0x6fff_fffb;
const DT_VERSYM: i64 = 0x6fff_fff0;
const DT_VERDEF: i64 = 0x6fff_fffc;

#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: u64,
}

#[repr(C)]
struct Relocation {
    offset: usize,
    info: u64,
    addend: i64,
}

#[repr(C)]
struct VersionDefinition {
    version: u16,
    flags: u16,
    index: u16,
    count: u16,
    hash: u32,
    names: u32,
    next: u32,
}

/// The hidden bit of a version index.
const HIDDEN: u16 = 0x8000;
/// The index of the first version that an object defines; those below it are of its own names.
const FIRST_VERSION: u16 = 2;

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

/// The version under which a caller looks a function up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// That of a version node, as in the caller's table of needed versions.
    Node(&'a CStr),
    /// None: the caller was linked with an object that has no versions.
    Unversioned,
    /// The one that an object has by default, as the linker takes it.
    Default,
}

/// Where an object's tables are.
struct Tables<'a> {
    object: PhantomData<&'a Object>,
    symbols: *const Symbol,
    strings: *const c_char,
    gnu_hash: *const u32,
    hash: *const u32,
    versions: *const u16,
    definitions: *const u8,
}

impl Object {
    /// The object's path; empty for the program.
    pub(crate) fn path(&self) -> &CStr {
        if self.name.is_null() {
            return c"";
        }
        // SAFETY: the loader's name of the object, which stays as long as the object.
        unsafe { CStr::from_ptr(self.name) }
    }

    /// Whether the object is there still, and not another one in its place.
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

    fn entries(&self) -> impl Iterator<Item = &Dynamic> {
        let mut next = self.dynamic;
        std::iter::from_fn(move || {
            if next.is_null() {
                return None;
            }
            // SAFETY: a dynamic section, which ends with DT_NULL.
            let entry = unsafe { &*next };
            next = next.wrapping_add(1);
            (entry.tag != DT_NULL).then_some(entry)
        })
    }

    fn value(&self, tag: i64) -> Option<usize> {
        self.entries().find(|entry| entry.tag == tag).map(|entry| entry.value)
    }

    /// A pointer of the dynamic section. glibc has moved it to where the object lies, unless the section is read-only.
    fn address(&self, tag: i64) -> usize {
        let value = self.value(tag).unwrap_or(0);
        if value != 0 && value < self.base { value + self.base } else { value }
    }

    fn pointer<T>(&self, tag: i64) -> *const T {
        std::ptr::with_exposed_provenance(self.address(tag))
    }

    fn tables(&self) -> Option<Tables<'_>> {
        let tables = Tables {
            object: PhantomData,
            symbols: self.pointer(DT_SYMTAB),
            strings: self.pointer(DT_STRTAB),
            gnu_hash: self.pointer(DT_GNU_HASH),
            hash: self.pointer(DT_HASH),
            versions: self.pointer(DT_VERSYM),
            definitions: self.pointer(DT_VERDEF),
        };
        (!tables.symbols.is_null() && !tables.strings.is_null()).then_some(tables)
    }

    fn string(&self, offset: usize) -> Option<&CStr> {
        let strings: *const c_char = self.pointer(DT_STRTAB);
        // SAFETY: an offset that the object's own dynamic section has.
        (!strings.is_null()).then(|| unsafe { CStr::from_ptr(strings.wrapping_add(offset)) })
    }

    /// Whether it is never unloaded (`-z nodelete`).
    pub(super) fn is_kept(&self) -> bool {
        const DF_1_NODELETE: usize = 8;
        self.value(DT_FLAGS_1).unwrap_or(0) & DF_1_NODELETE != 0
    }

    /// The name by which other objects need this one.
    pub(super) fn soname(&self) -> Option<&CStr> {
        self.string(self.value(DT_SONAME)?)
    }

    /// The names of the objects that this one needs.
    pub(super) fn needed(&self) -> impl Iterator<Item = &CStr> {
        let needed = self.entries().filter(|entry| entry.tag == DT_NEEDED);
        needed.filter_map(|entry| self.string(entry.value))
    }

    /// The function of this name that a caller is bound to if the search comes to this object; NULL if it goes on.
    pub(super) fn function(&self, name: &CStr, wanted: Wanted<'_>) -> *mut c_void {
        let found = self.tables().and_then(|tables| tables.find(name, wanted));
        found.map_or(std::ptr::null_mut(), |value| {
            std::ptr::with_exposed_provenance_mut(self.base + value)
        })
    }

    /// Whether the object has a function of this name, under any version.
    pub(super) fn defines(&self, name: &CStr) -> bool {
        !self.function(name, Wanted::Default).is_null()
    }

    /// The version node of a function that the object defines.
    pub(super) fn version_of(&self, name: &CStr) -> Option<&CStr> {
        let tables = self.tables()?;
        let mut found = None;
        tables.visit(name, |number, _| {
            found = tables.version_index(number).filter(|&index| index & !HIDDEN >= FIRST_VERSION);
            ControlFlow::Break(())
        });
        tables.version_name(found? & !HIDDEN)
    }

    /// Visits each place where the loader has put, or will put, the address of a function that this object takes from
    /// others: the function's name and the place.
    fn visit_imports<B>(
        &self,
        mut visit: impl FnMut(&CStr, *const usize) -> ControlFlow<B>,
    ) -> Option<B> {
        let tables = self.tables()?;
        for (table, size) in [(DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)] {
            let relocations: *const Relocation = self.pointer(table);
            let count = self.value(size).unwrap_or(0) / size_of::<Relocation>();
            for number in 0..if relocations.is_null() { 0 } else { count } {
                // SAFETY: within the object's table of relocations.
                let relocation = unsafe { &*relocations.wrapping_add(number) };
                let symbol = (relocation.info >> 32) as usize;
                if symbol == 0 || !is_function_slot(relocation.info as u32) {
                    continue;
                }
                // SAFETY: the symbol that a relocation of the object names.
                let symbol = unsafe { &*tables.symbols.wrapping_add(symbol) };
                let name = tables.name(symbol);
                let slot = std::ptr::with_exposed_provenance(self.base + relocation.offset);
                if let ControlFlow::Break(found) = visit(name, slot) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Whether the object takes a function of this name from others.
    pub(super) fn imports(&self, wanted: &CStr) -> bool {
        let found = self.visit_imports(|name, _| match name == wanted {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        found.is_some()
    }

    /// A place that holds the address of a function which this object has taken from another one, where `wanted` tells
    /// the function's name and `accepted` its address. What has not been bound yet points into the object itself.
    pub(super) fn bound_slot(
        &self,
        wanted: impl Fn(&CStr) -> bool,
        accepted: impl Fn(usize) -> bool,
    ) -> Option<*const usize> {
        self.visit_imports(|name, slot| {
            if wanted(name) {
                let address = read_slot(slot);
                if !self.range.contains(&address) && accepted(address) {
                    return ControlFlow::Break(slot);
                }
            }
            ControlFlow::Continue(())
        })
    }
}

/// What the loader has put into a slot, which it may do at this moment.
pub(super) fn read_slot(slot: *const usize) -> usize {
    // SAFETY: a slot of an object that is loaded; aligned, as the processor's relocations are.
    unsafe { slot.read_volatile() }
}

#[cfg(target_arch = "x86_64")]
fn is_function_slot(kind: u32) -> bool {
    matches!(kind, 1 | 6 | 7) // R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT
}

#[cfg(target_arch = "aarch64")]
fn is_function_slot(kind: u32) -> bool {
    matches!(kind, 257 | 1025 | 1026) // R_AARCH64_ABS64, R_AARCH64_GLOB_DAT, R_AARCH64_JUMP_SLOT
}

impl<'a> Tables<'a> {
    fn name(&self, symbol: &Symbol) -> &CStr {
        // SAFETY: an offset into the object's own strings.
        unsafe { CStr::from_ptr(self.strings.wrapping_add(symbol.name as usize)) }
    }

    fn version_index(&self, number: usize) -> Option<u16> {
        // SAFETY: there is one for each symbol.
        (!self.versions.is_null()).then(|| unsafe { *self.versions.wrapping_add(number) })
    }

    /// The node of a version that the object defines.
    fn version_name(&self, index: u16) -> Option<&'a CStr> {
        let mut at = self.definitions;
        while !at.is_null() {
            // SAFETY: within the object's definitions, which are aligned to words.
            let definition = unsafe { &*at.cast::<VersionDefinition>() };
            if definition.index == index {
                let name = at.wrapping_add(definition.names as usize);
                // SAFETY: the first name of a definition, an offset into the object's strings.
                let offset = unsafe { *name.cast::<u32>() } as usize;
                // SAFETY: as above.
                return Some(unsafe { CStr::from_ptr(self.strings.wrapping_add(offset)) });
            }
            if definition.next == 0 {
                break;
            }
            at = at.wrapping_add(definition.next as usize);
        }
        None
    }

    /// Where a defined function lies in the object, chosen among its versions as the dynamic loader does.
    fn find(&self, name: &CStr, wanted: Wanted<'_>) -> Option<usize> {
        self.visit(name, |number, symbol| {
            let accepted = match self.version_index(number) {
                // An object without versions satisfies every caller.
                None => true,
                Some(index) => match wanted {
                    Wanted::Node(node) => {
                        self.version_name(index & !HIDDEN).map_or(index < FIRST_VERSION, |name| {
                            name == node && index & !HIDDEN >= FIRST_VERSION
                        })
                    }
                    // What old callers take is the first version of the object, even if it is hidden.
                    Wanted::Unversioned => index & !HIDDEN <= FIRST_VERSION || index & HIDDEN == 0,
                    Wanted::Default => index & HIDDEN == 0,
                },
            };
            if accepted { ControlFlow::Break(symbol.value) } else { ControlFlow::Continue(()) }
        })
    }

    /// Visits the defined functions of a name, with their numbers.
    fn visit<B>(
        &self,
        name: &CStr,
        mut visit: impl FnMut(usize, &Symbol) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut one = |number: usize| {
            // SAFETY: a number that the object's hash table has.
            let symbol = unsafe { &*self.symbols.wrapping_add(number) };
            // No type or a function (not one that is yet to be chosen), and defined here.
            if symbol.info & 0xf <= 2 && symbol.section != 0 && self.name(symbol) == name {
                return visit(number, symbol);
            }
            ControlFlow::Continue(())
        };
        let found = if !self.gnu_hash.is_null() {
            visit_gnu_hash(self.gnu_hash, name, &mut one)
        } else if !self.hash.is_null() {
            visit_hash(self.hash, name, &mut one)
        } else {
            ControlFlow::Continue(())
        };
        found.break_value()
    }
}

/// Visits the numbers of the symbols that may have this name, by a table of `DT_GNU_HASH`.
fn visit_gnu_hash<B>(
    table: *const u32,
    name: &CStr,
    visit: &mut impl FnMut(usize) -> ControlFlow<B>,
) -> ControlFlow<B> {
    // SAFETY: within the table: its header, the filter's words, the buckets and the chains, in this order; and a chain
    // has an end.
    let word = |at: usize| unsafe { *table.wrapping_add(at) };
    let (buckets, first, filter) = (word(0) as usize, word(1) as usize, word(2) as usize);
    let buckets_at = 4 + filter * (size_of::<usize>() / size_of::<u32>());
    let hash = name
        .to_bytes()
        .iter()
        .fold(5381u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
    if buckets == 0 {
        return ControlFlow::Continue(());
    }
    let mut number = word(buckets_at + hash as usize % buckets) as usize;
    while number >= first.max(1) {
        let chained = word(buckets_at + buckets + number - first);
        if (chained ^ hash) & !1 == 0 {
            visit(number)?;
        }
        if chained & 1 != 0 {
            break;
        }
        number += 1;
    }
    ControlFlow::Continue(())
}

/// The same by a table of `DT_HASH`.
fn visit_hash<B>(
    table: *const u32,
    name: &CStr,
    visit: &mut impl FnMut(usize) -> ControlFlow<B>,
) -> ControlFlow<B> {
    // SAFETY: within the table: its header, the buckets and the chains, in this order; and a chain has an end.
    let word = |at: usize| unsafe { *table.wrapping_add(at) };
    let buckets = word(0) as usize;
    let hash = name.to_bytes().iter().fold(0u32, |hash, &byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        (hash ^ (hash >> 24 & 0xf0)) & 0x0fff_ffff
    });
    if buckets == 0 {
        return ControlFlow::Continue(());
    }
    let mut number = word(2 + hash as usize % buckets) as usize;
    while number != 0 {
        visit(number)?;
        number = word(2 + buckets + number) as usize;
    }
    ControlFlow::Continue(())
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

fn described(info: &libc::dl_phdr_info) -> Option<Object> {
    let base = info.dlpi_addr as usize;
    let (mut start, mut end) = (usize::MAX, 0);
    let mut dynamic: *const Dynamic = std::ptr::null();
    for number in 0..info.dlpi_phnum {
        // SAFETY: one of the object's program headers.
        let header = unsafe { &*info.dlpi_phdr.wrapping_add(number.into()) };
        let at = base + header.p_vaddr as usize;
        match header.p_type {
            libc::PT_LOAD => {
                start = start.min(at & !0xfff);
                end = end.max(at + header.p_memsz as usize);
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
    /// What the address of a function that is not there is taken for. (Not asked again: whatever is loaded later
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
        object_at(own as usize).unwrap()
    }

    #[test]
    fn an_address_has_one_object_whoever_is_asked() {
        let mine = own();
        let by_list = find_object(|object| object.range.contains(&(own as usize))).unwrap();
        assert_eq!(mine.dynamic, by_list.dynamic);
        assert_eq!(mine.range.start, by_list.range.start);
        assert!(mine.is_loaded());
        assert!(object_at(16).is_none());
    }

    #[test]
    fn functions_are_found_as_the_loader_finds_them() {
        let libc = find_object(|object| object.soname().is_some_and(|name| name.to_bytes().starts_with(b"libc.so"))).unwrap();
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
        let libc = find_object(|object| object.defines(c"malloc") && object.path().to_bytes().ends_with(b"libc.so.6")).unwrap();
        let slot = mine
            .bound_slot(|name| name == c"malloc" || name == c"write", |address| libc.range.contains(&address))
            .unwrap();
        assert!(libc.range.contains(&read_slot(slot)));
        assert!(mine.imports(c"dl_iterate_phdr") && !mine.imports(c"no such function"));
        assert!(mine.needed().any(|name| name == c"libc.so.6"));
    }
}
