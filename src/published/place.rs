//! This process's place in the table, and the blocks of its contexts.
//!
//! A child may have no right to do anything: it is sandboxed, lives in another root, is another user. So figures are
//! counted without a system call, in parent and child. A child takes a place in the table and blocks of its own with
//! its first event; one that only executes another program takes none. (A file for each child would have to be made
//! then, which is too late; made at the fork, it would be left behind by each program that is executed.)

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};

use sslsweep_figures::{
    BLOCKS, Block, CONTEXTS, Family, PROCESSES, Process, READY, claimed, freed, pid_of,
};
use sslsweep_share_table::Event;

use super::image::{self, family, image};
use super::sharing;
use super::words::{
    add_up, claim, clear, clear_process, copy, copy_process, give_back, give_up, is_unchanged,
    process_pid,
};
use crate::system;

/// Which process image the statics below speak of, and whether a thread is changing them.
static IMAGE: AtomicU64 = AtomicU64::new(0);
const CHANGING: u64 = 1;

/// The place in the table, and its owner's word since; `NOWHERE`: this process counts for nobody.
static PLACE: AtomicUsize = AtomicUsize::new(NOWHERE);
static OWNER: AtomicU64 = AtomicU64::new(0);
const NOWHERE: usize = usize::MAX;

/// Of each context that publishes: its number, 0 for none; its block, counted from 1, 0 for none; and the block's
/// owner's word since.
static NUMBERS: [AtomicU64; CONTEXTS] = [const { AtomicU64::new(0) }; CONTEXTS];
static CONTEXT_BLOCKS: [AtomicU16; CONTEXTS] = [const { AtomicU16::new(0) }; CONTEXTS];
static BLOCK_OWNERS: [AtomicU64; CONTEXTS] = [const { AtomicU64::new(0) }; CONTEXTS];

/// In place of a context's index where it has none: it counts among the others.
pub(super) const OTHERS: usize = usize::MAX;

const _: () = assert!(BLOCKS < u16::MAX as usize && PROCESSES < NOWHERE);

/// A block to write to.
pub(super) enum Figures {
    /// A context's own.
    Own(&'static Block),
    /// That of all contexts without one.
    Shared(&'static Block),
}

impl Figures {
    pub(super) fn block(&self) -> &'static Block {
        let (Self::Own(block) | Self::Shared(block)) = *self;
        block
    }
}

/// The figures of a context; none where nothing is published, or while another thread makes this child's place.
pub(super) fn figures(context: usize) -> Option<Figures> {
    let (family, process) = process()?;
    let number = CONTEXT_BLOCKS.get(context).map_or(0, |block| block.load(Ordering::Relaxed));
    let own = usize::from(number).checked_sub(1).and_then(|block| family.blocks.get(block));
    Some(own.map_or(Figures::Shared(&process.others), Figures::Own))
}

/// The figures of a context, whosever they are together with.
pub(super) fn any_figures(context: usize) -> Option<&'static Block> {
    figures(context).map(|figures| figures.block())
}

/// The operator's request to this process; 0: none.
pub(super) fn request() -> u64 {
    process().map_or(0, |(_, process)| process.request.load(Ordering::Relaxed))
}

/// A context begins: takes a number and a block for it. `None` if nothing is published.
pub(super) fn begin_context() -> Option<usize> {
    family()?;
    let Some((family, process)) = process() else { return Some(OTHERS) };
    let number = process.begun.fetch_add(1, Ordering::Relaxed) + 1;
    let free = NUMBERS.iter().position(|place| {
        place.compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    });
    let Some(context) = free else { return Some(OTHERS) };
    let Some(block) = claim_block(family, process_pid(process)) else {
        NUMBERS[context].store(0, Ordering::Release);
        return Some(OTHERS);
    };
    clear(&family.blocks[block]);
    give_block(family, context, block);
    Some(context)
}

/// A block that this process has claimed is this context's from now on.
fn give_block(family: &Family, context: usize, block: usize) {
    let number = NUMBERS[context].load(Ordering::Relaxed);
    family.blocks[block].number.store(number, Ordering::Relaxed);
    let owner = family.owners[block].fetch_or(READY, Ordering::Release);
    BLOCK_OWNERS[context].store(owner, Ordering::Relaxed);
    CONTEXT_BLOCKS[context].store(block as u16 + 1, Ordering::Release);
}

/// A context ends: what is in its block goes to those that have ended.
pub(super) fn end_context(context: usize) {
    let here = process();
    if let Some((_, process)) = here {
        process.ended.fetch_add(1, Ordering::Relaxed);
    }
    if context == OTHERS {
        return;
    }
    let block = usize::from(CONTEXT_BLOCKS[context].swap(0, Ordering::AcqRel));
    if let (Some((family, process)), Some(block)) = (here, block.checked_sub(1)) {
        family.owners[block].fetch_and(!READY, Ordering::AcqRel);
        add_up(&family.blocks[block], &process.past);
        clear(&family.blocks[block]);
        give_back(&family.owners[block]);
    }
    NUMBERS[context].store(0, Ordering::Release);
}

/// A context was left to libssl because it lies in memory that processes share.
pub(super) fn note_left_shared() {
    if let Some((_, process)) = process() {
        process.left_shared.fetch_add(1, Ordering::Relaxed);
    }
}

/// An event of sharing happened.
pub(super) fn note_shared(event: Event) {
    if let Some((_, process)) = process() {
        process.shared(event).fetch_add(1, Ordering::Relaxed);
    }
}

/// The family, and this process in it.
fn process() -> Option<(&'static Family, &'static Process)> {
    let family = family()?;
    let now = image();
    let known = IMAGE.load(Ordering::Acquire);
    if known != now && !begin_in_child(family, known, now) {
        return None;
    }
    Some((family, family.processes.get(PLACE.load(Ordering::Relaxed))?))
}

/// The process that makes the file takes a place, before anybody sees it.
pub(super) fn begin(family: &Family) {
    IMAGE.store(image(), Ordering::Relaxed);
    if let Some((place, _)) = take_place(family) {
        let process = &family.processes[place];
        // Contexts may have stood aside before there was a file.
        for event in Event::ALL {
            process.shared(event).store(sharing::shared_count(event), Ordering::Relaxed);
        }
        process.owner.fetch_or(READY, Ordering::Release);
        PLACE.store(place, Ordering::Relaxed);
    }
}

/// The process ends, and gives up what it has.
pub(super) fn leave(family: &Family) {
    if IMAGE.load(Ordering::Acquire) == image() && PLACE.load(Ordering::Relaxed) != NOWHERE {
        give_up(family, pid_of(OWNER.load(Ordering::Relaxed)));
    }
}

/// In a child: takes a place, and blocks with what the parent's have. Returns whether it is done. While one thread is
/// at it the others' events are lost, rather than waited for.
#[cold]
fn begin_in_child(family: &'static Family, known: u64, now: u64) -> bool {
    // A thread of the parent may have been changing these at the fork; no thread of this process is.
    if known == now | CHANGING
        || IMAGE
            .compare_exchange(known, now | CHANGING, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
    {
        return false;
    }
    take_over(family);
    IMAGE.store(now, Ordering::Release);
    true
}

fn take_over(family: &Family) {
    let parents_place = PLACE.swap(NOWHERE, Ordering::Relaxed);
    let parents_owner = OWNER.load(Ordering::Relaxed);
    let parents_blocks: [usize; CONTEXTS] = std::array::from_fn(|context| {
        usize::from(CONTEXT_BLOCKS[context].swap(0, Ordering::Relaxed)).wrapping_sub(1)
    });
    // A request that the parent has had since the fork was to this process as well, which nobody could see by then.
    let parent = family.processes.get(parents_place);
    let request = parent
        .filter(|parent| is_unchanged(&parent.owner, parents_owner))
        .map_or(0, |parent| parent.request.load(Ordering::Relaxed));
    let Some((place, free)) = take_place(family) else {
        family.header.uncounted.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let process = &family.processes[place];
    process.request.store(request, Ordering::Relaxed);
    match family.processes.get(parents_place) {
        // The parent has ended, and this is its place.
        Some(_) if place == parents_place && free == freed(parents_owner) => {}
        Some(parent) if is_unchanged(&parent.owner, parents_owner) => {
            copy_process(parent, process);
        }
        _ => clear_process(process),
    }
    let pid = process_pid(process);
    // The blocks of a parent that has ended first, before they are taken for something else.
    let is_taken: [bool; CONTEXTS] = std::array::from_fn(|context| {
        let former = freed(BLOCK_OWNERS[context].load(Ordering::Relaxed));
        let owner = family.owners.get(parents_blocks[context]);
        owner.is_some_and(|owner| {
            owner
                .compare_exchange(former, claimed(former, pid), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    });
    for (context, parents) in parents_blocks.into_iter().enumerate() {
        let (Some(from), Some(owner)) = (family.blocks.get(parents), family.owners.get(parents))
        else {
            continue;
        };
        if is_taken[context] {
            give_block(family, context, parents);
            continue;
        }
        let Some(block) = claim_block(family, pid) else { continue };
        if is_unchanged(owner, BLOCK_OWNERS[context].load(Ordering::Relaxed)) {
            copy(from, &family.blocks[block]);
        } else {
            clear(&family.blocks[block]);
        }
        give_block(family, context, block);
    }
    process.owner.fetch_or(READY, Ordering::Release);
    PLACE.store(place, Ordering::Relaxed);
    image::forget_fork(family);
}

/// Takes a free place in the table, with what an earlier process has left there. Returns also its owner's word before.
/// `None` if there is none.
fn take_place(family: &Family) -> Option<(usize, u64)> {
    let pid = image::pid(family)?;
    // A place that an earlier process of this number has left is surely free.
    give_up(family, pid);
    let (place, free) = family.processes.iter().enumerate().find_map(|(place, process)| {
        let dead = process.dead.load(Ordering::Relaxed);
        if dead != 0 && dead == u64::from(process_pid(process)) {
            give_up(family, process_pid(process));
        }
        Some((place, claim(&process.owner, pid)?))
    })?;
    let process = &family.processes[place];
    process.dead.store(0, Ordering::Relaxed);
    // A request was to the process that had the place before.
    process.request.store(0, Ordering::Relaxed);
    process.since.store(since_boot(), Ordering::Relaxed);
    OWNER.store(process.owner.load(Ordering::Relaxed), Ordering::Relaxed);
    Some((place, free))
}

/// Takes a free block for this process. It is shown when it is given to a context.
fn claim_block(family: &Family, pid: u32) -> Option<usize> {
    family.owners.iter().position(|owner| claim(owner, pid).is_some())
}

/// Nanoseconds of the clock that a process's start is measured by.
fn since_boot() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    system::clock_gettime(libc::CLOCK_BOOTTIME, &mut now);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
