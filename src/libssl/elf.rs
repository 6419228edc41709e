//! The dynamic section of a loaded object, and the tables that it leads to: symbols, their versions, relocations.

use std::ffi::CStr;
use std::ops::ControlFlow;

use super::mapped::Mapped;

// Tags of a dynamic section.
const DT_NULL: usize = 0;
const DT_NEEDED: usize = 1;
const DT_PLTRELSZ: usize = 2;
const DT_HASH: usize = 4;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_RELA: usize = 7;
const DT_RELASZ: usize = 8;
pub(super) const DT_SONAME: usize = 14;
const DT_JMPREL: usize = 23;
const DT_GNU_HASH: usize = 0x6fff_fef5;
pub(super) const DT_FLAGS_1: usize = 0x6fff_fffb;
const DT_VERSYM: usize = 0x6fff_fff0;
const DT_VERDEF: usize = 0x6fff_fffc;

// Sizes of entries, all of them of 64-bit objects.
const DYNAMIC: usize = 16;
const SYMBOL: usize = 24;
const RELOCATION: usize = 24;

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

/// The dynamic section of an object.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    object: Mapped<'a>,
    first: usize,
}

/// The addresses of an object's tables; 0 for one that it has not.
pub(super) struct Tables<'a> {
    object: Mapped<'a>,
    symbols: usize,
    strings: usize,
    gnu_hash: usize,
    hash: usize,
    versions: usize,
    definitions: usize,
}

impl<'a> Section<'a> {
    /// The section that begins at this address; an empty one outside of the object.
    pub(super) fn new(object: Mapped<'a>, first: usize) -> Self {
        Self { object, first }
    }

    /// Its tags and their values.
    fn entries(self) -> impl Iterator<Item = (usize, usize)> {
        let entry = move |at| {
            let tag = self.object.word(at).filter(|&tag| tag != DT_NULL)?;
            Some((tag, self.object.word(at + 8)?))
        };
        (self.first..).step_by(DYNAMIC).map_while(entry)
    }

    pub(super) fn value(self, wanted: usize) -> Option<usize> {
        self.entries().find(|&(tag, _)| tag == wanted).map(|(_, value)| value)
    }

    /// The address of a table. glibc has moved it to where the object lies, unless the section is read-only.
    fn address(self, tag: usize) -> usize {
        match self.value(tag) {
            None | Some(0) => 0,
            Some(value) if self.object.contains(value) => value,
            Some(value) => self.object.at(value),
        }
    }

    pub(super) fn tables(self) -> Option<Tables<'a>> {
        let tables = Tables {
            object: self.object,
            symbols: self.address(DT_SYMTAB),
            strings: self.address(DT_STRTAB),
            gnu_hash: self.address(DT_GNU_HASH),
            hash: self.address(DT_HASH),
            versions: self.address(DT_VERSYM),
            definitions: self.address(DT_VERDEF),
        };
        (tables.symbols != 0 && tables.strings != 0).then_some(tables)
    }

    pub(super) fn string(self, offset: usize) -> Option<&'a CStr> {
        self.object.string(self.address(DT_STRTAB).checked_add(offset)?)
    }

    /// The names of the objects that this one needs.
    pub(super) fn needed(self) -> impl Iterator<Item = &'a CStr> {
        let needed = self.entries().filter(|&(tag, _)| tag == DT_NEEDED);
        needed.filter_map(move |(_, name)| self.string(name))
    }

    /// Visits each place where the loader has put, or will put, the address of a function that this object takes from
    /// others: the function's name and the place.
    pub(super) fn visit_imports<B>(
        self,
        mut visit: impl FnMut(&CStr, usize) -> ControlFlow<B>,
    ) -> Option<B> {
        let tables = self.tables()?;
        for (table, size) in [(DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)] {
            let table = self.address(table);
            let count = self.value(size).unwrap_or(0) / RELOCATION;
            for number in 0..if table == 0 { 0 } else { count } {
                let at = table + number * RELOCATION;
                let (place, info) = (self.object.word(at)?, self.object.word(at + 8)?);
                let symbol = info >> 32;
                if symbol == 0 || !is_function_slot(info as u32) {
                    continue;
                }
                let name = tables.name(tables.symbols + symbol * SYMBOL)?;
                if let ControlFlow::Break(found) = visit(name, self.object.at(place)) {
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
    /// The name of the symbol at an address.
    fn name(&self, symbol: usize) -> Option<&'a CStr> {
        self.object.string(self.strings + self.object.u32(symbol)? as usize)
    }

    /// The version index of a symbol, where the object has versions.
    fn version_index(&self, number: usize) -> Option<u16> {
        if self.versions == 0 { None } else { self.object.u16(self.versions + 2 * number) }
    }

    /// The node of a version that the object defines.
    fn version_name(&self, wanted: u16) -> Option<&'a CStr> {
        // Of a definition: its index, the way to its first name and to the next definition.
        const INDEX: usize = 4;
        const NAMES: usize = 12;
        const NEXT: usize = 16;
        let mut at = self.definitions;
        while self.object.u16(at + INDEX)? != wanted {
            match self.object.u32(at + NEXT)? {
                0 => return None,
                next => at += next as usize,
            }
        }
        let name = at + self.object.u32(at + NAMES)? as usize;
        self.object.string(self.strings + self.object.u32(name)? as usize)
    }

    /// The version node of a defined function.
    pub(super) fn version_of(&self, name: &CStr) -> Option<&'a CStr> {
        let index = self.visit(name, |number, _| ControlFlow::Break(self.version_index(number)));
        let index = index.flatten()? & !HIDDEN;
        if index < FIRST_VERSION { None } else { self.version_name(index) }
    }

    /// The address of a defined function in the object, chosen among its versions as the dynamic loader does.
    pub(super) fn find(&self, name: &CStr, wanted: Wanted<'_>) -> Option<usize> {
        self.visit(name, |number, value| {
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
            if accepted { ControlFlow::Break(value) } else { ControlFlow::Continue(()) }
        })
    }

    /// Visits the defined functions of a name: their numbers and values.
    fn visit<B>(
        &self,
        name: &CStr,
        mut visit: impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> Option<B> {
        const INFO: usize = 4;
        const SECTION: usize = 6;
        const VALUE: usize = 8;
        let mut one = |number: usize| {
            let at = self.symbols + number * SYMBOL;
            let [info] = self.object.bytes(at + INFO)?;
            // No type or a function (not one that is yet to be chosen), and defined here.
            let is_defined = info & 0xf <= 2 && self.object.u16(at + SECTION)? != 0;
            if is_defined && self.name(at)? == name {
                return visit(number, self.object.word(at + VALUE)?).break_value();
            }
            None
        };
        if self.gnu_hash != 0 {
            self.visit_gnu_hash(name, &mut one)
        } else if self.hash != 0 {
            self.visit_hash(name, &mut one)
        } else {
            None
        }
    }

    /// Visits the numbers of the symbols that may have this name, by a table of `DT_GNU_HASH`: its header, the filter's
    /// words, the buckets and the chains.
    fn visit_gnu_hash<B>(
        &self,
        name: &CStr,
        visit: &mut impl FnMut(usize) -> Option<B>,
    ) -> Option<B> {
        let word = |number: usize| self.object.u32(self.gnu_hash + 4 * number);
        let (buckets, first, filter) = (word(0)? as usize, word(1)? as usize, word(2)? as usize);
        let buckets_at = 4 + 2 * filter;
        let hash = name
            .to_bytes()
            .iter()
            .fold(5381u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
        let mut number = word(buckets_at + (hash as usize).checked_rem(buckets)?)? as usize;
        while number >= first.max(1) {
            let chained = word(buckets_at + buckets + number - first)?;
            if (chained ^ hash) & !1 == 0 {
                if let Some(found) = visit(number) {
                    return Some(found);
                }
            }
            if chained & 1 != 0 {
                break;
            }
            number += 1;
        }
        None
    }

    /// The same by a table of `DT_HASH`: its header, the buckets and the chains.
    fn visit_hash<B>(&self, name: &CStr, visit: &mut impl FnMut(usize) -> Option<B>) -> Option<B> {
        let word = |number: usize| self.object.u32(self.hash + 4 * number);
        let buckets = word(0)? as usize;
        let hash = name.to_bytes().iter().fold(0u32, |hash, &byte| {
            let hash = (hash << 4).wrapping_add(byte.into());
            (hash ^ (hash >> 24 & 0xf0)) & 0x0fff_ffff
        });
        let mut number = word(2 + (hash as usize).checked_rem(buckets)?)? as usize;
        while number != 0 {
            if let Some(found) = visit(number) {
                return Some(found);
            }
            number = word(2 + buckets + number)? as usize;
        }
        None
    }
}
