//! The objects that are loaded in this process, and their symbol tables.
//!
//! All of it reads memory that the dynamic loader has set up. Nothing here takes the loader's lock, which is held by
//! whoever runs constructors, perhaps while they wait for a thread that calls us (contract P8). So no `dlsym`, `dlopen`
//! or `dladdr`: `dl_iterate_phdr` takes another lock, which is only held while the list of objects changes, and
//! `_dl_find_object` (glibc 2.35) takes none.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::offset_of;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) use super::elf::Wanted;
use super::elf::{DT_FLAGS_1, DT_SONAME, Section};
use super::mapped::Mapped;

/// A loaded object. It is looked into only while it is known to stay: while it calls us, while one that needs it does, or
/// inside [`find_object`].
#[derive(Debug, Clone)]
pub(crate) struct Object {
    base: usize,
    /// The addresses that it is mapped to.
    pub(super) range: Range<usize>,
    /// The address of its dynamic section.
    dynamic: usize,
    /// The address of its path, or NULL.
    name: usize,
}

impl Object {
    /// The object's path; empty for the program.
    pub(crate) fn path(&self) -> &CStr {
        if self.name == 0 {
            return c"";
        }
        let name: *const c_char = std::ptr::with_exposed_provenance(self.name);
        // SAFETY: the loader's name of the object, which stays as long as the object.
        unsafe { CStr::from_ptr(name) }
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
        self.range.start.rotate_left(40) ^ self.dynamic
    }

    /// The memory that it is mapped to.
    fn memory(&self) -> Mapped<'_> {
        // SAFETY: an object that is loaded; its own tables and instructions lead to what is read.
        unsafe { Mapped::new(self.base, &self.range) }
    }

    /// The bytes of code at an address. (A stub is longer than these, and a call lies before where it returns to.)
    #[cfg(target_arch = "x86_64")]
    pub(super) fn code(&self, at: usize) -> Option<[u8; 6]> {
        self.memory().bytes(at)
    }

    /// The instruction at an address.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn instruction(&self, at: usize) -> Option<u32> {
        self.memory().u32(at)
    }

    /// Returns whether this and what follows it within the length of a few instructions is code of the object.
    pub(super) fn is_code(&self, address: usize) -> bool {
        const LENGTH: usize = 16;
        // An object is mapped from its beginning, and the first page holds its header and its program headers.
        let (memory, start) = (self.memory(), self.range.start);
        let table = || {
            let is_elf = memory.bytes(start)? == *b"\x7fELF";
            let at = start + memory.word(start + offset_of!(libc::Elf64_Ehdr, e_phoff))?;
            let count = memory.u16(start + offset_of!(libc::Elf64_Ehdr, e_phnum))?;
            is_elf.then_some((at, count))
        };
        let is_in = |header: usize| {
            let kind = memory.u32(header + offset_of!(libc::Elf64_Phdr, p_type))?;
            let flags = memory.u32(header + offset_of!(libc::Elf64_Phdr, p_flags))?;
            let start = memory.at(memory.word(header + offset_of!(libc::Elf64_Phdr, p_vaddr))?);
            let size = memory.word(header + offset_of!(libc::Elf64_Phdr, p_memsz))?;
            let is_code = kind == libc::PT_LOAD && flags & libc::PF_X != 0;
            Some(is_code && (start..(start + size).saturating_sub(LENGTH)).contains(&address))
        };
        let size = size_of::<libc::Elf64_Phdr>();
        memory.contains(address)
            && table().is_some_and(|(at, count)| {
                (0..count.into()).any(|number: usize| is_in(at + number * size) == Some(true))
            })
    }

    fn section(&self) -> Section<'_> {
        Section::new(self.memory(), self.dynamic)
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
    pub(super) fn imports_at(&self, wanted: &CStr, slot: usize) -> bool {
        self.has_import(|name, place| place == slot && name == wanted)
    }

    fn has_import(&self, wanted: impl Fn(&CStr, usize) -> bool) -> bool {
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
    ) -> Option<usize> {
        self.section().visit_imports(|name, slot| {
            if prefixes.iter().any(|prefix| name.to_bytes().starts_with(prefix)) {
                let bound = self.read_slot(slot).filter(|address| !self.range.contains(address));
                if bound.is_some_and(&accepted) {
                    return ControlFlow::Break(slot);
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// The address in a slot of this object, which the loader may be writing at this moment.
    pub(super) fn read_slot(&self, slot: usize) -> Option<usize> {
        self.memory().slot(slot)
    }
}

/// The first loaded object that `wanted` accepts, in the order in which they were loaded: those that were there at the
/// start come first, in the order of the search for symbols.
///
/// `wanted` runs while no object can go, under the lock of the loader's list: it may read, and must neither allocate nor
/// call anybody.
pub(super) fn find_object(mut wanted: impl FnMut(&Object) -> bool) -> Option<Object> {
    struct Search<'a> {
        wanted: &'a mut dyn FnMut(&Object) -> bool,
        found: Option<Object>,
    }
    #[expect(improper_ctypes, reason = "the search is only handed on")]
    unsafe extern "C" {
        safe fn dl_iterate_phdr(
            visit: extern "C" fn(&libc::dl_phdr_info, usize, &mut Search<'_>) -> c_int,
            search: &mut Search<'_>,
        ) -> c_int;
    }
    extern "C" fn visit(info: &libc::dl_phdr_info, _: usize, search: &mut Search<'_>) -> c_int {
        // SAFETY: the object's program headers.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        search.found =
            described(info.dlpi_addr as usize, info.dlpi_name.expose_provenance(), headers)
                .filter(|object| (search.wanted)(object));
        search.found.is_some().into()
    }
    let mut search = Search { wanted: &mut wanted, found: None };
    dl_iterate_phdr(visit, &mut search);
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

fn described(base: usize, name: usize, headers: &[libc::Elf64_Phdr]) -> Option<Object> {
    let (mut start, mut end, mut dynamic) = (usize::MAX, 0, 0);
    for header in headers {
        let at = base.wrapping_add(header.p_vaddr as usize);
        match header.p_type {
            libc::PT_LOAD => {
                start = start.min(at & !0xfff);
                end = end.max(at.wrapping_add(header.p_memsz as usize));
            }
            libc::PT_DYNAMIC => dynamic = at,
            _ => {}
        }
    }
    (start < end && dynamic != 0).then_some(Object { base, range: start..end, dynamic, name })
}

/// The program, by the headers that the kernel has named. Not by the loader's list: in a child of a fork, another thread may
/// have been reading that for ever (contract P10).
fn program(base: usize, name: usize) -> Option<Object> {
    // SAFETY: it may be asked for anything.
    let told = |what| unsafe { libc::getauxval(what) } as usize;
    let headers: *const libc::Elf64_Phdr = std::ptr::with_exposed_provenance(told(libc::AT_PHDR));
    // SAFETY: the program's headers, which stay; NULL if the kernel has not named them.
    let first = unsafe { headers.as_ref() }?;
    // SAFETY: as above, and there are so many.
    described(base, name, unsafe { std::slice::from_raw_parts(first, told(libc::AT_PHNUM)) })
}

/// The object that is mapped at an address.
pub(super) fn object_at(address: usize) -> Option<Object> {
    let contains = |object: &Object| object.range.contains(&address);
    match loader_find() {
        Some(find) => find(address),
        None => find_object(contains),
    }
}

/// `struct dl_find_object`, of which the first members are looked at.
#[repr(C)]
struct Found {
    flags: u64,
    start: usize,
    end: usize,
    link: Option<&'static Link>,
    others: [usize; 12],
}

/// The public part of `struct link_map`.
#[repr(C)]
struct Link {
    base: usize,
    name: usize,
    dynamic: usize,
}

type Find = extern "C" fn(*const c_void, &mut Found) -> c_int;

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
    // SAFETY: a function under this name is this function, and the loader's own object stays. It may be asked about any
    // address; its answer stays while somebody at that address calls us.
    let find: Find = unsafe { std::mem::transmute(function) };
    Some(move |address: usize| {
        let mut found = Found { flags: 0, start: 0, end: 0, link: None, others: [0; 12] };
        if find(std::ptr::without_provenance(address), &mut found) != 0 {
            return None;
        }
        let Link { base, name, dynamic } = *found.link?;
        let range = found.start..found.end;
        if !range.contains(&dynamic) {
            // Where segments lie apart, as the program's do on arm64, the loader tells of the one with the address alone.
            return program(base, name).filter(|program| program.dynamic == dynamic);
        }
        Some(Object { base, range, dynamic, name })
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
        let wanted: [(_, *const ()); 2] = [
            (c"malloc", libc::malloc as *const ()),
            (c"dl_iterate_phdr", libc::dl_iterate_phdr as *const ()),
        ];
        for (name, wanted) in wanted {
            assert_eq!(libc.function(name, Wanted::Default).addr(), wanted.addr(), "{name:?}");
        }
        assert!(libc.function(c"no such function", Wanted::Default).is_null());
        if cfg!(target_env = "musl") {
            return; // it has no versions
        }
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
        assert!(mine.read_slot(slot).is_some_and(|address| libc.range.contains(&address)));
        assert!(mine.imports(c"dl_iterate_phdr") && !mine.imports(c"no such function"));
        assert!(mine.needed().any(|name| name == c"libc.so.6"));
    }
}
