//! The allocator of this library: the C library's, and the system's pages for what is large.
//!
//! The library is a guest in somebody's server, which must not end because memory has run out. Tables are reserved fallibly, and
//! [`boxed`] and [`arc`] return `None`. Some pieces of the standard library abort instead (a path, an entry of a folder).
//! They are used in one place, the making of the file of figures, which has its own room ([`with_room`]); and one piece
//! is allocated while the library is loaded.
//!
//! The tables of a large cache are pages of their own. glibc's malloc merges all small pieces that were freed
//! before whenever it frees a large one or makes one, which after a flush of 50,000 sessions of OpenSSL 3.0 takes 8 ms:
//! it did so for a table that grew, under a shard's lock, and for the tables of an emptied cache of a million it took
//! a third of the flush. Nor do tables that grow leave holes in the heap (index of 20,000: 59 bytes each instead of 64).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stack::this_thread;
use crate::system;

/// The least that a page has; from here on memory is pages of its own.
const PAGE: usize = 4096;

fn is_large(layout: Layout) -> bool {
    // Miri has no pages.
    !cfg!(miri) && layout.size() >= PAGE && layout.align() <= PAGE
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
        safe static REGISTER: Option<Region>;
        #[link_name = "sslsweep_lsan_unregister"]
        safe static UNREGISTER: Option<Region>;
    }

    /// For new pages.
    pub(super) fn look_into(pages: *mut u8, size: usize) {
        tell(REGISTER, pages, size);
    }

    /// For pages that are about to go.
    pub(super) fn look_into_no_more(pages: *mut u8, size: usize) {
        tell(UNREGISTER, pages, size);
    }

    fn tell(whom: Option<Region>, pages: *mut u8, size: usize) {
        if let Some(whom) = whom.filter(|_| !pages.is_null()) {
            // SAFETY: pages of ours, from `look_into` until `look_into_no_more`.
            unsafe { whom(pages.cast(), size) };
        }
    }
}

struct Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

// SAFETY: all comes from the system's allocator, from the system itself, or from room that nobody else has.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        #[cfg(any(test, fuzzing))]
        if !count_allocation() {
            return fallback(layout);
        }
        let memory = if is_large(layout) {
            let pages = system::map_pages(layout.size());
            leaks::look_into(pages, layout.size());
            pages
        } else {
            // SAFETY: the caller's own promise.
            unsafe { System.alloc(layout) }
        };
        if memory.is_null() { fallback(layout) } else { memory }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if ROOM.has(memory) {
            // It goes with all the room.
        } else if is_large(layout) {
            leaks::look_into_no_more(memory, layout.size());
            // SAFETY: they were mapped, and the caller promises that nobody uses them any more.
            unsafe { libc::munmap(memory.cast(), layout.size()) };
        } else {
            // SAFETY: the caller's own promise, and it is the system's memory.
            unsafe { System.dealloc(memory, layout) };
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        #[cfg(any(test, fuzzing))]
        let is_refused = !count_allocation();
        #[cfg(not(any(test, fuzzing)))]
        let is_refused = false;
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return std::ptr::null_mut();
        };
        let in_place = !is_refused && !ROOM.has(memory);
        if in_place && is_large(layout) && is_large(wanted) {
            leaks::look_into_no_more(memory, layout.size());
            let (pages, may_move) = (memory.cast(), libc::MREMAP_MAYMOVE);
            // SAFETY: as in `dealloc`, but for what is in the pages: that stays.
            let moved = unsafe { libc::mremap(pages, layout.size(), size, may_move) };
            let moved = system::mapped(moved);
            if moved.is_null() {
                leaks::look_into(memory, layout.size());
            }
            leaks::look_into(moved, size);
            return moved;
        }
        if in_place && !is_large(layout) && !is_large(wanted) {
            // SAFETY: the caller's own promise, and it is the system's memory.
            let grown = unsafe { System.realloc(memory, layout, size) };
            if !grown.is_null() {
                return grown;
            }
        }
        // SAFETY: the caller promises that the size is not zero.
        let moved = if is_refused { fallback(wanted) } else { unsafe { self.alloc(wanted) } };
        if !moved.is_null() {
            // SAFETY: both are at least this long, and different.
            unsafe { std::ptr::copy_nonoverlapping(memory, moved, size.min(layout.size())) };
            // SAFETY: the caller's own promise.
            unsafe { self.dealloc(memory, layout) };
        }
        moved
    }
}

/// Memory for what malloc refuses.
#[cold]
fn fallback(layout: Layout) -> *mut u8 {
    let ready = take_ready(layout);
    if ready.is_null() { ROOM.take(layout) } else { ready }
}

thread_local! {
    /// Memory that [`with_ready`] has found, and of what layout. Without a destructor, as nothing stays here.
    static READY: Cell<(*mut u8, Layout)> = const { Cell::new((std::ptr::null_mut(), Layout::new::<()>())) };
}

/// The memory that [`with_ready`] has found, if it is for this.
fn take_ready(wanted: Layout) -> *mut u8 {
    let (ready, layout) = READY.get();
    if layout != wanted {
        return std::ptr::null_mut();
    }
    READY.set((std::ptr::null_mut(), layout));
    ready
}

/// Calls `make`, which allocates once, of this layout. Memory for that is found before, and is used if there
/// is none any more. `None` if none is found; then `make` is dropped.
fn with_ready<R>(layout: Layout, make: impl FnOnce() -> R) -> Option<R> {
    assert!(layout.size() > 0, "only memory is allocated");
    // SAFETY: the size is not zero.
    let found = unsafe { MEMORY.alloc(layout) };
    if found.is_null() {
        return None;
    }
    READY.set((found, layout));
    let made = make();
    let unused = take_ready(layout);
    if !unused.is_null() {
        // SAFETY: found above with this layout, and not given out.
        unsafe { MEMORY.dealloc(unused, layout) };
    }
    Some(made)
}

/// `Box::new` that fails, and drops the value, instead of aborting.
pub(crate) fn boxed<T>(value: T) -> Option<Box<T>> {
    with_ready(Layout::new::<T>(), || Box::new(value))
}

/// `Arc::new` that fails, and drops the value, instead of aborting.
pub(crate) fn arc<T>(value: T) -> Option<Arc<T>> {
    let (layout, _) = Layout::new::<[usize; 2]>().extend(Layout::new::<T>()).ok()?;
    with_ready(layout.pad_to_align(), || Arc::new(value))
}

/// Pages that one thread falls back on during [`with_room`].
struct Room {
    /// Their address; 0 if there are none.
    start: AtomicUsize,
    /// The address of what is free.
    free: AtomicUsize,
    /// The thread.
    owner: AtomicUsize,
}

static ROOM: Room =
    Room { start: AtomicUsize::new(0), free: AtomicUsize::new(0), owner: AtomicUsize::new(0) };

impl Room {
    const SIZE: usize = 1 << 20;

    #[inline]
    fn has(&self, memory: *mut u8) -> bool {
        memory.addr().wrapping_sub(self.start.load(Ordering::Relaxed)) < Self::SIZE
    }

    fn take(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) || self.owner.load(Ordering::Relaxed) != this_thread() {
            return std::ptr::null_mut();
        }
        let at = self.free.load(Ordering::Relaxed).next_multiple_of(layout.align());
        let end = at.saturating_add(layout.size());
        if end > self.start.load(Ordering::Relaxed) + Self::SIZE {
            return std::ptr::null_mut();
        }
        self.free.store(end, Ordering::Relaxed);
        std::ptr::with_exposed_provenance_mut(at)
    }
}

/// Runs an action with a mebibyte of room for small pieces that malloc refuses. `None` if there is no memory for that.
///
/// # Safety
///
/// No other thread of this process is in here, and what the action has allocated does not outlive it.
pub(crate) unsafe fn with_room<R>(action: impl FnOnce() -> R) -> Option<R> {
    let room = system::map_pages(Room::SIZE);
    if room.is_null() {
        return None;
    }
    ROOM.free.store(room.expose_provenance(), Ordering::Relaxed);
    ROOM.start.store(room.addr(), Ordering::Relaxed);
    ROOM.owner.store(this_thread(), Ordering::Relaxed);
    let result = action();
    ROOM.owner.store(0, Ordering::Relaxed);
    ROOM.start.store(0, Ordering::Relaxed);
    // SAFETY: mapped above, and the caller promises that nothing is left in it.
    unsafe { libc::munmap(room.cast(), Room::SIZE) };
    Some(result)
}

#[cfg(any(test, fuzzing))]
thread_local! {
    static ALLOCATIONS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    /// The number of the allocation that fails.
    static FAILING: std::cell::Cell<u64> = const { std::cell::Cell::new(u64::MAX) };
}

/// Counts an allocation. Returns whether it may be made.
#[cfg(any(test, fuzzing))]
fn count_allocation() -> bool {
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

    #[test]
    fn an_arc_is_made_or_refused() {
        let made = arc([7_u64; 30]).expect("there is memory");
        assert_eq!(*made, [7; 30]);
        assert!(READY.get().0.is_null(), "nothing is left ready");
        let (refused, _) = starving(0, || arc([7_u64; 30]));
        assert!(refused.is_none());
        let (made, _) = starving(1, || arc([7_u64; 30]));
        assert!(made.is_some() && READY.get().0.is_null(), "of the memory that was found");
        let value = Arc::new(());
        let (refused, _) = starving(0, || arc(Arc::clone(&value)));
        assert!(refused.is_none() && Arc::strong_count(&value) == 1, "the value is dropped");
        assert!(take_ready(Layout::new::<[usize; 2]>()).is_null());
    }

    #[test]
    fn a_table_that_grows_and_shrinks_over_the_size_of_a_page_keeps_its_bytes() {
        let mut bytes = Vec::new();
        for size in [16, PAGE - 8, PAGE, 3 * PAGE + 1, 100 * PAGE, 2 * PAGE, PAGE - 1, 5 * PAGE, 16]
        {
            bytes.truncate(size);
            bytes.shrink_to_fit();
            bytes.reserve_exact(size - bytes.len());
            assert!(bytes.iter().all(|&byte| byte == 7), "{size}");
            bytes.resize(size, 7);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps pages")]
    fn no_small_allocation_fails_where_there_is_room() {
        let action = || (0..10).map(|number| number.to_string()).collect::<Vec<_>>().concat();
        for at in 0.. {
            // SAFETY: the text is gone when the comparison is made.
            let run = || unsafe { with_room(|| action() == "0123456789") };
            let (is_right, starved) = starving(at, run);
            assert_eq!(is_right, Some(true), "{at}");
            if !starved {
                break;
            }
        }
        assert_eq!(ROOM.start.load(Ordering::Relaxed), 0);
    }
}
