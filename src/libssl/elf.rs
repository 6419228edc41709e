//! The dynamic section of a loaded object, and the tables that it leads to: symbols, their versions, relocations.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};

/// An entry of a dynamic section.
#[repr(C)]
pub(super) struct Dynamic {
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
pub(super) const DT_SONAME: i64 = 14;
const DT_JMPREL: i64 = 23;
const DT_GNU_HASH: i64 = 0x6fff_fef5;
pub(super) const DT_FLAGS_1: i64 = 0x6fff_fffb;
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

/// The dynamic section of an object that stays loaded for the lifetime.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    base: usize,
    range: &'a Range<usize>,
    first: *const Dynamic,
    object: PhantomData<&'a Dynamic>,
}

/// The tables of an object.
pub(super) struct Tables<'a> {
    object: PhantomData<&'a Dynamic>,
    symbols: *const Symbol,
    strings: *const c_char,
    gnu_hash: *const u32,
    hash: *const u32,
    versions: *const u16,
    definitions: *const u8,
}

impl<'a> Section<'a> {
    /// # Safety
    ///
    /// The dynamic section of an object that lies at `base`, in this range, and stays loaded for the lifetime; NULL is an empty one.
    pub(super) unsafe fn new(base: usize, range: &'a Range<usize>, first: *const Dynamic) -> Self {
        Self { base, range, first, object: PhantomData }
    }

    fn entries(self) -> impl Iterator<Item = &'a Dynamic> {
        let mut next = self.first;
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

    pub(super) fn value(self, tag: i64) -> Option<usize> {
        self.entries().find(|entry| entry.tag == tag).map(|entry| entry.value)
    }

    /// A pointer of the dynamic section. glibc has moved it to where the object lies, unless the section is read-only.
    fn address(self, tag: i64) -> usize {
        match self.value(tag) {
            None | Some(0) => 0,
            Some(value) if self.range.contains(&value) => value,
            Some(value) => self.base.wrapping_add(value),
        }
    }

    fn pointer<T>(self, tag: i64) -> *const T {
        std::ptr::with_exposed_provenance(self.address(tag))
    }

    pub(super) fn tables(self) -> Option<Tables<'a>> {
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

    pub(super) fn string(self, offset: usize) -> Option<&'a CStr> {
        let strings: *const c_char = self.pointer(DT_STRTAB);
        // SAFETY: an offset that the object's own dynamic section has.
        (!strings.is_null()).then(|| unsafe { CStr::from_ptr(strings.wrapping_add(offset)) })
    }

    /// The names of the objects that this one needs.
    pub(super) fn needed(self) -> impl Iterator<Item = &'a CStr> {
        let needed = self.entries().filter(|entry| entry.tag == DT_NEEDED);
        needed.filter_map(move |entry| self.string(entry.value))
    }

    /// Visits each place where the loader has put, or will put, the address of a function that this object takes from
    /// others: the function's name and the place.
    pub(super) fn visit_imports<B>(
        self,
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
                let slot =
                    std::ptr::with_exposed_provenance(self.base.wrapping_add(relocation.offset));
                if let ControlFlow::Break(found) = visit(name, slot) {
                    return Some(found);
                }
            }
        }
        None
    }
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

    /// The version node of a defined function.
    pub(super) fn version_of(&self, name: &CStr) -> Option<&'a CStr> {
        let index = self.visit(name, |number, _| ControlFlow::Break(self.version_index(number)));
        let index = index.flatten()? & !HIDDEN;
        if index < FIRST_VERSION { None } else { self.version_name(index) }
    }

    /// The address of a defined function in the object, chosen among its versions as the dynamic loader does.
    pub(super) fn find(&self, name: &CStr, wanted: Wanted<'_>) -> Option<usize> {
        self.visit(name, |number, symbol| {
            let accepted = match self.version_index(number) {
                // An object without versions satisfies every caller.
                None => true,
                Some(index) => match wanted {
                    // A symbol of the object's own base version satisfies every caller too.
                    Wanted::Node(node) => {
                        let index = index & !HIDDEN;
                        index < FIRST_VERSION || self.version_name(index) == Some(node)
                    }
                    // Old callers take the first version of the object, even if it is hidden.
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
