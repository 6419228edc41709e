//! This process: the mapping that it has inherited or made, its pid, and the children that it is about to have.
//!
//! A child knows by [`generation`] that it is one, also after `_Fork`. Its one system call, `getpid`, is made at the fork,
//! where handlers of forks run.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use once_cell::race::OnceRef;
use sslsweep_figures::{FORKED, Family};

use crate::sync::generation;

/// The mapping; none where nothing is published.
static FAMILY: OnceRef<'static, Family> = OnceRef::new();

/// The process ends, and what comes now counts for nobody.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Forks whose handlers ran: where the kernel has no page that it wipes, [`generation`] does not change.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// A pid, and the process image whose it is.
static PID: AtomicU32 = AtomicU32::new(0);
static PID_OF: AtomicU64 = AtomicU64::new(0);

/// This process, or one that it descends from, is the first of a pid namespace that was made after the file: its pid
/// means another process to the readers of the file.
static IS_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// The place in `forked` where this process was noted at the fork; `FORKED`: in none.
static NOTED: AtomicUsize = AtomicUsize::new(FORKED);

/// The mapping.
pub(super) fn family() -> Option<&'static Family> {
    FAMILY.get().filter(|_| !IS_ENDING.load(Ordering::Relaxed))
}

/// Makes the mapping known.
pub(super) fn begin(family: &'static Family) {
    let _ = FAMILY.set(family);
}

/// Makes the mapping unknown, as the process ends.
pub(super) fn end() {
    IS_ENDING.store(true, Ordering::Relaxed);
}

/// This process image. Its lowest bit is 0.
pub(super) fn image() -> u64 {
    u64::from(generation()) << 32 | u64::from(FORKS.load(Ordering::Relaxed)) << 1
}

/// This process's pid, if it is known.
pub(super) fn known_pid() -> Option<u32> {
    (PID_OF.load(Ordering::Relaxed) == image()).then(|| PID.load(Ordering::Relaxed))
}

/// This process's pid; `None` if it means another process to the readers of the file.
pub(super) fn pid(family: &Family) -> Option<u32> {
    let pid = known_pid().unwrap_or_else(|| note_pid(family));
    (!IS_ELSEWHERE.load(Ordering::Relaxed)).then_some(pid)
}

/// Asks the system which process this is.
fn note_pid(family: &Family) -> u32 {
    let pid = std::process::id();
    // (Nobody who had a pid before is the first process of a namespace, but of one of its own.)
    let had_another = PID.load(Ordering::Relaxed) != 0;
    if pid == 1 && (had_another || family.header.pid.load(Ordering::Relaxed) != 1) {
        IS_ELSEWHERE.store(true, Ordering::Relaxed);
    }
    PID.store(pid, Ordering::Relaxed);
    PID_OF.store(image(), Ordering::Relaxed);
    pid
}

/// Before a fork: notes that a child is about to come, so that the parent does not take the file away from one that
/// has counted nothing yet, not even if it ends before the child has run.
pub(super) extern "C" fn forks() {
    let Some(family) = family() else { return };
    // A process may have come into a namespace of its own without a handler's knowledge, and its children must know.
    let pid = known_pid().unwrap_or_else(|| note_pid(family));
    note_fork(family, 0, pid);
}

/// In the child: it is here, in place of one that was about to come. (Whichever: they are all alike.)
pub(super) extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    let Some(family) = family() else { return };
    let parent = PID.load(Ordering::Relaxed);
    let at = note_fork(family, parent, note_pid(family));
    NOTED.store(at, Ordering::Relaxed);
}

/// Notes a pid among the children that have counted nothing yet, in place of another.
fn note_fork(family: &Family, former: u32, pid: u32) -> usize {
    let (former, pid) = (u64::from(former), u64::from(pid));
    let forked = &family.header.forked;
    let place = forked.iter().position(|noted| {
        noted.compare_exchange(former, pid, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    });
    place.unwrap_or_else(|| {
        // Most have executed another program: in turn, the oldest is forgotten.
        let turn = family.header.forks.fetch_add(1, Ordering::Relaxed) as usize % FORKED;
        forked[turn].store(pid, Ordering::Relaxed);
        turn
    })
}

/// This process has counted something, or ends.
pub(super) fn forget_fork(family: &Family) {
    if let Some(noted) = family.header.forked.get(NOTED.swap(FORKED, Ordering::Relaxed)) {
        let pid = u64::from(PID.load(Ordering::Relaxed));
        let _ = noted.compare_exchange(pid, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}
