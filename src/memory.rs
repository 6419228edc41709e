//! The allocator of this library: the C library's, with a small reserve, and the system's pages for what is large.
//!
//! Tables that may grow large are reserved fallibly, and its failure reported as OpenSSL would. But small
//! pieces of the standard library (a line of text) can't fail, they abort, which a guest in
//! somebody's server must not do. When malloc fails, these come from the reserve.
//!
//! The tables of a large cache are pages of their own. glibc's malloc merges all small pieces that were freed
//! before whenever it frees a large one or makes one, which after a flush of 50,000 sessions of OpenSSL 3.0 takes 8 ms:
//! it did so for a table that grew, under a shard's lock, and for the tables of an emptied cache of a million it took
//! a third of the flush. Nor do tables that grow leave holes in the heap (index of 20,000: 59 bytes each instead of 64).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BLOCKS: usize = 64;
const BLOCK: usize = 1024;

/// The least that a page has; from here on memory is pages of its own.
const PAGE: usize = 4096;

fn is_large(layout: Layout) -> bool {
    // Miri has no pages.
    !cfg!(miri) && layout.size() >= PAGE && layout.align() <= PAGE
}

fn map(size: usize) -> *mut u8 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: new pages, anywhere.
    let pages = found(unsafe { libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0) });
    if !pages.is_null() {
        leaks::look_into(pages, size);
    }
    pages
}

fn found(pages: *mut libc::c_void) -> *mut u8 {
    if pages == libc::MAP_FAILED { std::ptr::null_mut() } else { pages.cast() }
}

/// # Safety
///
/// `map`, or [`remap`], has returned these pages for that size, and nobody uses them any more.
unsafe fn unmap(pages: *mut u8, size: usize) {
    leaks::look_into_no_more(pages, size);
    // SAFETY: the caller's own promise.
    unsafe { libc::munmap(pages.cast(), size) };
}

/// # Safety
///
/// As for [`unmap`], but for what is in the pages: that stays, unless NULL is returned, and then they stay too.
unsafe fn remap(pages: *mut u8, size: usize, wanted: usize) -> *mut u8 {
    leaks::look_into_no_more(pages, size);
    // SAFETY: the caller's own promise.
    let moved = found(unsafe { libc::mremap(pages.cast(), size, wanted, libc::MREMAP_MAYMOVE) });
    if moved.is_null() {
        leaks::look_into(pages, size);
    } else {
        leaks::look_into(moved, wanted);
    }
    moved
}

/// LeakSanitizer looks for pointers in what malloc gave out, on stacks and in variables. A program that is built with
/// it must be told of our pages, or it takes the sessions that are stored there for leaks.
mod leaks {
    type Region = unsafe extern "C" fn(*const libc::c_void, usize);

    // Weak, and so NULL where there is no such sanitizer. The loader fills the addresses in: a look-up at the first use
    // would take its lock. Rust itself has weak symbols on nightly alone.
    #[cfg(not(miri))]
    std::arch::global_asm!(
        ".weak __lsan_register_root_region",
        ".weak __lsan_unregister_root_region",
        ".pushsection .data.rel.ro.sslsweep_leaks,\"aw\",@progbits",
        ".balign 8",
        ".hidden sslsweep_lsan_register",
        ".globl sslsweep_lsan_register",
        "sslsweep_lsan_register: .quad __lsan_register_root_region",
        ".hidden sslsweep_lsan_unregister",
        ".globl sslsweep_lsan_unregister",
        "sslsweep_lsan_unregister: .quad __lsan_unregister_root_region",
        ".popsection",
    );

    unsafe extern "C" {
        #[link_name = "sslsweep_lsan_register"]
        static REGISTER: Option<Region>;
        #[link_name = "sslsweep_lsan_unregister"]
        static UNREGISTER: Option<Region>;
    }

    pub(super) fn look_into(pages: *mut u8, size: usize) {
        // SAFETY: written by the loader before any code of this object runs, and never again.
        if let Some(register) = unsafe { REGISTER } {
            // SAFETY: pages that stay until `look_into_no_more` is told of them.
            unsafe { register(pages.cast(), size) };
        }
    }

    pub(super) fn look_into_no_more(pages: *mut u8, size: usize) {
        // SAFETY: as above.
        if let Some(unregister) = unsafe { UNREGISTER } {
            // SAFETY: `look_into` has told of these pages, with this size.
            unsafe { unregister(pages.cast(), size) };
        }
    }
}

struct WithReserve {
    /// A bit for each block in use.
    used: AtomicU64,
    blocks: UnsafeCell<Blocks>,
}

#[repr(align(64))]
struct Blocks(#[expect(dead_code, reason = "used by address")] [[u8; BLOCK]; BLOCKS]);

// SAFETY: a block belongs to whoever set its bit.
unsafe impl Sync for WithReserve {}

#[global_allocator]
static MEMORY: WithReserve =
    WithReserve { used: AtomicU64::new(0), blocks: UnsafeCell::new(Blocks([[0; BLOCK]; BLOCKS])) };

impl WithReserve {
    fn take(&self, layout: Layout) -> *mut u8 {
        if layout.size() > BLOCK || layout.align() > align_of::<Blocks>() {
            return std::ptr::null_mut();
        }
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let free = used.trailing_ones();
            if free as usize == BLOCKS {
                return std::ptr::null_mut();
            }
            let taken = used | 1 << free;
            match self.used.compare_exchange_weak(used, taken, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return self.blocks.get().cast::<u8>().wrapping_add(free as usize * BLOCK),
                Err(now) => used = now,
            }
        }
    }

    /// The number of the block at this address.
    fn block(&self, address: *mut u8) -> Option<usize> {
        let offset = (address as usize).wrapping_sub(self.blocks.get() as usize);
        (offset < BLOCKS * BLOCK).then_some(offset / BLOCK)
    }
}

// SAFETY: all comes from the system's allocator, or is a block that nobody else has.
unsafe impl GlobalAlloc for WithReserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        #[cfg(any(test, fuzzing))]
        if !asked() {
            return room(layout);
        }
        if is_large(layout) {
            return map(layout.size());
        }
        // SAFETY: the caller's own promise.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            return memory;
        }
        let memory = room(layout);
        if memory.is_null() { self.take(layout) } else { memory }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: the caller's own promise; so they were mapped.
            unsafe { unmap(memory, layout.size()) };
            return;
        }
        match self.block(memory) {
            Some(block) => {
                self.used.fetch_and(!(1 << block), Ordering::Release);
            }
            // SAFETY: the caller's own promise, and it is the system's memory.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        #[cfg(any(test, fuzzing))]
        if !asked() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller promises that the size does not overflow with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if is_large(layout) && is_large(wanted) {
            // SAFETY: the caller's own promise; so they were mapped.
            return unsafe { remap(memory, layout.size(), size) };
        }
        if !is_large(layout) && !is_large(wanted) && self.block(memory).is_none() {
            // SAFETY: the caller's own promise, and it is the system's memory.
            let grown = unsafe { System.realloc(memory, layout, size) };
            if !grown.is_null() {
                return grown;
            }
        }
        // SAFETY: the caller promises that the size is not zero.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both are at least this long, and different.
            unsafe { std::ptr::copy_nonoverlapping(memory, moved, size.min(layout.size())) };
            // SAFETY: the caller's own promise.
            unsafe { self.dealloc(memory, layout) };
        }
        moved
    }
}

/// `Box::new` that fails, and drops the value, instead of aborting.
pub(crate) fn boxed<T>(value: T) -> Option<Box<T>> {
    let mut one = Vec::new();
    one.try_reserve_exact(1).ok()?;
    one.push(value);
    let one: Box<[T; 1]> = one.into_boxed_slice().try_into().ok()?;
    let first: *mut [T; 1] = Box::into_raw(one);
    // SAFETY: an array of one has the layout of its element.
    Some(unsafe { Box::from_raw(first.cast()) })
}

thread_local! {
    /// Memory that [`arc`] has found, and of what layout. Without a destructor, as nothing stays here.
    static ROOM: Cell<(*mut u8, Layout)> = const { Cell::new((std::ptr::null_mut(), Layout::new::<()>())) };
}

/// The memory that [`arc`] has found, if it is for this.
#[cold]
fn room(wanted: Layout) -> *mut u8 {
    let (room, layout) = ROOM.get();
    if layout != wanted {
        return std::ptr::null_mut();
    }
    ROOM.set((std::ptr::null_mut(), layout));
    room
}

/// `Arc::new` that fails, and drops the value, instead of aborting: the memory is found before, and lies ready in case that
/// there is none any more.
pub(crate) fn arc<T>(value: T) -> Option<Arc<T>> {
    let (layout, _) = Layout::new::<[usize; 2]>().extend(Layout::new::<T>()).ok()?;
    let layout = layout.pad_to_align();
    // SAFETY: not of no size.
    let found = unsafe { MEMORY.alloc(layout) };
    if found.is_null() {
        return None;
    }
    ROOM.set((found, layout));
    let made = Arc::new(value);
    let unused = room(layout);
    if !unused.is_null() {
        // SAFETY: found above with this layout, and not given out.
        unsafe { MEMORY.dealloc(unused, layout) };
    }
    Some(made)
}

#[cfg(any(test, fuzzing))]
thread_local! {
    static ALLOCATIONS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    /// Which allocation fails, the reserve included.
    static FAILING: std::cell::Cell<u64> = const { std::cell::Cell::new(u64::MAX) };
}

/// Counts an allocation. Returns whether it may be made.
#[cfg(any(test, fuzzing))]
fn asked() -> bool {
    let number = ALLOCATIONS.replace(ALLOCATIONS.get() + 1);
    number != FAILING.get()
}

/// How often this thread has asked for memory.
#[cfg(any(test, fuzzing))]
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Runs `action`, of whose allocations that of this number fails. Returns whether it came so far.
#[cfg(any(test, fuzzing))]
pub(crate) fn starving<R>(at: u64, action: impl FnOnce() -> R) -> (R, bool) {
    let failing = allocations() + at;
    FAILING.set(failing);
    let result = action();
    FAILING.set(u64::MAX);
    (result, allocations() > failing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_reserve() -> Box<WithReserve> {
        Box::new(WithReserve {
            used: AtomicU64::new(0),
            blocks: UnsafeCell::new(Blocks([[0; BLOCK]; BLOCKS])),
        })
    }

    #[test]
    fn an_arc_is_made_or_refused() {
        let made = arc([7_u64; 30]).expect("there is memory");
        assert_eq!(*made, [7; 30]);
        assert!(ROOM.get().0.is_null(), "nothing is left ready");
        let (refused, _) = starving(0, || arc([7_u64; 30]));
        assert!(refused.is_none());
        let (made, _) = starving(1, || arc([7_u64; 30]));
        assert!(made.is_some() && ROOM.get().0.is_null(), "of the memory that was found");
        let (value, held) = (Arc::new(()), Layout::new::<[usize; 2]>());
        let (refused, _) = starving(0, || arc(Arc::clone(&value)));
        assert!(refused.is_none() && Arc::strong_count(&value) == 1, "the value is dropped");
        assert!(room(held).is_null());
    }

    #[test]
    fn each_block_is_taken_once_and_comes_back() {
        let memory = with_reserve();
        let layout = Layout::from_size_align(BLOCK, 16).unwrap();
        let taken: Vec<_> = (0..BLOCKS).map(|_| memory.take(layout)).collect();
        let mut numbers: Vec<_> = taken.iter().map(|&block| memory.block(block).unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..BLOCKS).collect::<Vec<_>>());
        assert!(memory.take(layout).is_null(), "no more");
        // SAFETY: taken above.
        unsafe { memory.dealloc(taken[7], layout) };
        assert_eq!(memory.take(layout), taken[7]);
    }

    #[test]
    fn what_outgrows_a_block_moves() {
        let memory = with_reserve();
        let small = Layout::from_size_align(8, 8).unwrap();
        let block = memory.take(small);
        // SAFETY: eight bytes of a block that is ours.
        unsafe { block.copy_from_nonoverlapping(b"sslsweep".as_ptr(), 8) };
        // SAFETY: taken above, with this layout.
        let moved = unsafe { memory.realloc(block, small, 2 * BLOCK) };
        assert_eq!(memory.block(moved), None);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        // SAFETY: moved with its content.
        assert_eq!(unsafe { std::slice::from_raw_parts(moved, 8) }, b"sslsweep");
        // SAFETY: allocated above, with this layout.
        unsafe { memory.dealloc(moved, Layout::from_size_align(2 * BLOCK, 8).unwrap()) };
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let memory = with_reserve();
        assert!(memory.take(Layout::from_size_align(BLOCK + 1, 1).unwrap()).is_null());
        assert!(memory.take(Layout::from_size_align(8, 128).unwrap()).is_null());
    }

    #[test]
    fn what_grows_and_shrinks_over_the_size_of_a_page_keeps_its_bytes() {
        let memory = with_reserve();
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        let sizes =
            [16, PAGE - 8, PAGE, 3 * PAGE + 1, 100 * PAGE, 2 * PAGE, PAGE - 1, 5 * PAGE, 16];
        // SAFETY: the size is not zero.
        let mut at = unsafe { memory.alloc(layout(sizes[0])) };
        // SAFETY: the size that was asked for.
        unsafe { at.write_bytes(7, sizes[0]) };
        for pair in sizes.windows(2) {
            // SAFETY: of the layout that the step before made.
            at = unsafe { memory.realloc(at, layout(pair[0]), pair[1]) };
            assert!(!at.is_null());
            // SAFETY: all these bytes were written.
            let kept = unsafe { std::slice::from_raw_parts(at, pair[0].min(pair[1])) };
            assert!(kept.iter().all(|&byte| byte == 7), "{pair:?}");
            // SAFETY: the size that was asked for.
            unsafe { at.write_bytes(7, pair[1]) };
        }
        // SAFETY: of the layout of the last step.
        unsafe { memory.dealloc(at, layout(16)) };
    }
}
