//! The number of this process image.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::alone;
use crate::system;

/// Where the number is: in a page that the kernel wipes in the child of a fork, or in [`KEPT`]; before the first call in
/// [`NONE`].
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const NONE).cast_mut());

/// Always 0.
static NONE: AtomicU32 = AtomicU32::new(0);

/// In place of that page if there is no memory for it. The number is then the parent's in a child too.
static KEPT: AtomicU32 = AtomicU32::new(0);

/// The last number that was taken in this process or in one that it descends from.
static LAST: AtomicU32 = AtomicU32::new(0);

/// From one number to the next: the lowest two bits are free for the state of a lock.
const STEP: u32 = 4;

/// A number, never 0, that no other process image in this line of descent has had.
///
/// It costs two loads. (The process id would be a system call, and comes back.)
#[inline]
pub(crate) fn generation() -> u32 {
    match word().load(Ordering::Relaxed) {
        0 => begin(),
        number => number,
    }
}

#[inline]
fn word() -> &'static AtomicU32 {
    // SAFETY: of statics, or in a page that stays for good.
    unsafe { &*WORD.load(Ordering::Acquire) }
}

/// The first call in this process image.
#[cold]
fn begin() -> u32 {
    alone::look();
    // Decided once: a number that changes while locks are held would look like another process. (The page of a thread that
    // comes second is lost.)
    let none = (&raw const NONE).cast_mut();
    if WORD.load(Ordering::Acquire) == none {
        let made = std::ptr::from_ref(wiped_page().unwrap_or(&KEPT)).cast_mut();
        let _ = WORD.compare_exchange(none, made, Ordering::AcqRel, Ordering::Relaxed);
    }
    // Taken before it is written down. A fork between the two then only skips a number; the other way round, the
    // child would take the one that its parent has.
    let number = LAST.fetch_add(STEP, Ordering::Relaxed) + STEP;
    match word().compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => number,
        Err(other) => other,
    }
}

/// A page of zeros that reads as zeros again in each child; before Linux 4.14, in none.
fn wiped_page() -> Option<&'static AtomicU32> {
    const PAGE: usize = 4096;
    if cfg!(miri) {
        return None;
    }
    let page = system::map_pages(PAGE);
    if page.is_null() {
        return None;
    }
    // SAFETY: a page of ours.
    unsafe { libc::madvise(page.cast(), PAGE, libc::MADV_WIPEONFORK) };
    // SAFETY: it stays for good, and zeros are a number.
    Some(unsafe { &*page.cast::<AtomicU32>() })
}

#[cfg(test)]
pub(crate) use tests::in_child;

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit status of a child that runs `work`, which must allocate nothing: other threads of the tests may
    /// have held the allocator's lock.
    pub(crate) fn in_child(work: impl FnOnce() -> bool) -> bool {
        unsafe extern "C" {
            safe fn alarm(seconds: u32) -> u32;
            safe fn _exit(status: i32) -> !;
            safe fn waitpid(child: libc::pid_t, status: &mut i32, options: i32) -> libc::pid_t;
        }
        // SAFETY: the child only does `work` and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            alarm(60); // ends a child that hangs
            _exit(if work() { 7 } else { 1 });
        }
        let mut status = 0;
        let ended = waitpid(child, &mut status, 0);
        ended == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7
    }

    #[test]
    #[cfg_attr(miri, ignore = "forks")]
    fn a_child_has_a_number_of_its_own_and_so_has_its_child() {
        let parent = generation();
        assert!(parent != 0 && parent == generation());
        assert!(in_child(|| {
            let child = generation();
            child > parent && in_child(|| generation() > child) && child == generation()
        }));
        assert_eq!(generation(), parent);
    }
}
