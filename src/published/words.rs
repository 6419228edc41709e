//! The mapping's words: owners, which are claimed and given up, and the blocks and processes that they own.

use std::sync::atomic::{AtomicU64, Ordering};

use sslsweep_figures::{Block, Family, Kind, Process, claimed, freed, pid_of};

/// Claims what is free. Returns its word before.
pub(super) fn claim(owner: &AtomicU64, pid: u32) -> Option<u64> {
    let is = owner.load(Ordering::Relaxed);
    let claims = pid_of(is) == 0
        && owner
            .compare_exchange(is, claimed(is, pid), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
    claims.then_some(is)
}

pub(super) fn give_back(owner: &AtomicU64) {
    let is = owner.load(Ordering::Relaxed);
    let _ = owner.compare_exchange(is, freed(is), Ordering::AcqRel, Ordering::Relaxed);
}

/// Frees all that belongs to this pid: the blocks first, since the place names the pid to the process that goes on
/// after one that is killed in the middle of this.
pub(super) fn give_up(family: &Family, pid: u32) {
    let places = family.processes.iter().map(|process| &process.owner);
    family
        .owners
        .iter()
        .chain(places)
        .filter(|owner| pid_of(owner.load(Ordering::Relaxed)) == pid)
        .for_each(give_back);
}

/// Returns whether nobody has claimed this since.
pub(super) fn is_unchanged(owner: &AtomicU64, since: u64) -> bool {
    freed(owner.load(Ordering::Relaxed)) == freed(since)
}

pub(super) fn process_pid(process: &Process) -> u32 {
    pid_of(process.owner.load(Ordering::Relaxed))
}

pub(super) fn add_up(from: &Block, to: &Block) {
    for ((kind, from), (_, to)) in from.figures().zip(to.figures()) {
        let value = from.load(Ordering::Relaxed);
        match kind {
            Kind::Sum => to.fetch_add(value, Ordering::Relaxed),
            Kind::Most => to.fetch_max(value, Ordering::Relaxed),
            Kind::Now => continue,
        };
    }
}

pub(super) fn clear(block: &Block) {
    block.figures().for_each(|(_, word)| word.store(0, Ordering::Relaxed));
}

pub(super) fn copy(from: &Block, to: &Block) {
    for ((_, from), (_, to)) in from.figures().zip(to.figures()) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// The counts of a process that belong to no block.
fn counts(process: &Process) -> impl Iterator<Item = &AtomicU64> {
    [&process.begun, &process.ended, &process.left_shared].into_iter().chain(&process.sharing)
}

pub(super) fn copy_process(from: &Process, to: &Process) {
    for (from, to) in counts(from).zip(counts(to)) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    copy(&from.past, &to.past);
    copy(&from.others, &to.others);
}

pub(super) fn clear_process(process: &Process) {
    counts(process).for_each(|word| word.store(0, Ordering::Relaxed));
    clear(&process.past);
    clear(&process.others);
}
