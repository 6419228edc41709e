//! The memory that an object is mapped to, read by address.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ops::Range;

/// A view of an object that stays loaded for the lifetime. Nothing outside of it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mapped<'a> {
    /// The address in memory of address 0 in the object's file.
    base: usize,
    start: usize,
    end: usize,
    object: PhantomData<&'a ()>,
}

impl<'a> Mapped<'a> {
    /// # Safety
    ///
    /// An object is mapped to this range and stays so for the lifetime, and only what lies in its segments is asked for.
    pub(super) unsafe fn new(base: usize, range: &'a Range<usize>) -> Self {
        Self { base, start: range.start, end: range.end, object: PhantomData }
    }

    /// The address in memory of an address in the object's file.
    pub(super) fn at(self, address: usize) -> usize {
        self.base.wrapping_add(address)
    }

    pub(super) fn contains(self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }

    fn pointer<T>(self, at: usize) -> Option<*const T> {
        let has_all = self.contains(at) && self.end - at >= size_of::<T>();
        has_all.then(|| std::ptr::with_exposed_provenance(at))
    }

    pub(super) fn bytes<const N: usize>(self, at: usize) -> Option<[u8; N]> {
        let pointer: *const [u8; N] = self.pointer(at)?;
        // SAFETY: within the object.
        Some(unsafe { pointer.read() })
    }

    pub(super) fn u16(self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_ne_bytes)
    }

    pub(super) fn u32(self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_ne_bytes)
    }

    pub(super) fn word(self, at: usize) -> Option<usize> {
        self.bytes(at).map(usize::from_ne_bytes)
    }

    /// An aligned word that the loader may be writing at this moment.
    pub(super) fn slot(self, at: usize) -> Option<usize> {
        let pointer: *const usize =
            self.pointer(at).filter(|pointer: &*const usize| pointer.is_aligned())?;
        // SAFETY: within the object.
        Some(unsafe { pointer.read_volatile() })
    }

    pub(super) fn string(self, at: usize) -> Option<&'a CStr> {
        // SAFETY: within the object, whose strings have an end.
        self.pointer(at).map(|string| unsafe { CStr::from_ptr(string) })
    }
}
