//! Which process image this is.

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The address of the number: in a page that the kernel wipes in the child of a fork, or in [`KEPT`].
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

/// In place of that page where there is none. The number is then the parent's in a child too.
static KEPT: AtomicU32 = AtomicU32::new(0);

/// The last number that was taken in this process or in one that it descends from.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A number, never 0, that no other process image in this line of descent has had.
///
/// It costs two loads. (The process id would be a system call, and comes back.)
#[inline]
pub(crate) fn generation() -> u32 {
    // SAFETY: null, or a word that stays for good.
    let word = unsafe { WORD.load(Ordering::Acquire).as_ref() };
    match word.map(|word| word.load(Ordering::Relaxed)) {
        None | Some(0) => begin(),
        Some(number) => number,
    }
}

/// The first call in this process image.
#[cold]
fn begin() -> u32 {
    let mut word = WORD.load(Ordering::Acquire);
    if word.is_null() {
        // Decided once: a number that changes while locks are held would look like another process.
        let null = std::ptr::null_mut();
        let made = wiped_page().unwrap_or((&raw const KEPT).cast_mut());
        word = match WORD.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(other) => {
                // Another thread came first.
                give_up(made);
                other
            }
        };
    }
    // SAFETY: not null, and stays for good.
    let word = unsafe { &*word };
    // Taken before it is written down. A fork between the two then only skips a number; the other way round, the
    // child would take the one that its parent has.
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match word.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => number,
        Err(other) => other,
    }
}

const PAGE: usize = 4096;

/// A page of zeros that reads as zeros again in each child. `None` out of memory, and before Linux 4.14.
fn wiped_page() -> Option<*mut AtomicU32> {
    if cfg!(miri) {
        return None;
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new page, anywhere.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, access, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the page is ours.
    let wiped = unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) } == 0;
    if !wiped {
        give_up(page.cast());
    }
    wiped.then_some(page.cast())
}

fn give_up(page: *mut AtomicU32) {
    if !std::ptr::eq(page, &raw const KEPT) {
        // SAFETY: mapped by us, and nobody else has seen it.
        unsafe { libc::munmap(page.cast(), PAGE) };
    }
}

#[cfg(test)]
pub(crate) use tests::in_child;

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit status of a child that runs `work`, which must allocate nothing: other threads of the tests may
    /// have held the allocator's lock.
    pub(crate) fn in_child(work: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child only does `work` and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no preconditions; it ends a child that hangs.
            unsafe { libc::alarm(20) };
            let status = if work() { 7 } else { 1 };
            // SAFETY: no preconditions.
            unsafe { libc::_exit(status) };
        }
        let mut status = 0;
        // SAFETY: our own child, and room for its status.
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
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
