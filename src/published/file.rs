//! The statistics file of this family of processes: made with the first context, written through one mapping that
//! children of a fork inherit, and taken away by the last process that ends by `exit`.
//!
//! A child may have no right to do anything: it is sandboxed, lives in another root, is another user. So figures are
//! counted without a system call, in parent and child. A child takes a place in the table and blocks of its own with
//! its first event; one that only executes another program takes none. (A file for each child would have to be made
//! then, which is too late; made at the fork, it would be left behind by each program that is executed.) That it is a
//! child it knows by [`generation`], also after `_Fork`. Its one system call, `getpid`, is made at the fork, where
//! handlers of forks run.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::time::Duration;

use sslsweep_figures::files::{self, FOLDER, Name, PROGRAMS, Use};
use sslsweep_figures::processes::Processes;
use sslsweep_figures::{
    BLOCKS, Block, CONTEXTS, FORKED, Family, Kind, LAYOUT, MAGIC, NAME_WORDS, PROCESSES, Process,
    READY, STRIPES, claimed, freed, pid_of, version,
};

use crate::guard::uncancelled;
use crate::sync::generation;
use crate::{options, report};

/// The mapping; NULL where nothing is published.
static FAMILY: AtomicPtr<Family> = AtomicPtr::new(std::ptr::null_mut());

/// Which process image the statics below speak of, and whether a thread is changing them.
static IMAGE: AtomicU64 = AtomicU64::new(0);
const CHANGING: u64 = 1;

/// Forks whose handlers ran: where the kernel has no page that it wipes, [`generation`] does not change.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// A pid, and the process image whose it is.
static PID: AtomicU32 = AtomicU32::new(0);
static PID_OF: AtomicU64 = AtomicU64::new(0);

/// The place in the table, and its owner's word since; `NOWHERE`: this process counts for nobody.
static PLACE: AtomicUsize = AtomicUsize::new(NOWHERE);
static OWNER: AtomicU64 = AtomicU64::new(0);
const NOWHERE: usize = usize::MAX;

/// This process, or one that it descends from, is the first of a pid namespace that was made after the file: its pid
/// means another process to whoever reads.
static IS_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Where in `forked` this process was noted at the fork.
static NOTED: AtomicUsize = AtomicUsize::new(NOWHERE);

/// Of each context that publishes: its number, 0 for none; its block, counted from 1, 0 for none; and the block's
/// owner's word since.
static NUMBERS: [AtomicU64; CONTEXTS] = [const { AtomicU64::new(0) }; CONTEXTS];
static CONTEXT_BLOCKS: [AtomicU16; CONTEXTS] = [const { AtomicU16::new(0) }; CONTEXTS];
static BLOCK_OWNERS: [AtomicU64; CONTEXTS] = [const { AtomicU64::new(0) }; CONTEXTS];

/// In place of a context's index where it has none: it counts among the others.
pub(super) const OTHERS: usize = usize::MAX;

// ---- What is counted ----

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

/// The stripe of this thread.
pub(super) fn stripe() -> usize {
    thread_local! {
        static STRIPE: usize = {
            static THREADS: AtomicUsize = AtomicUsize::new(0);
            THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES
        };
    }
    STRIPE.try_with(|&stripe| stripe).unwrap_or(0)
}

/// A context begins: takes a number and a block for it. `None` if nothing is published.
pub(super) fn begin_context() -> Option<usize> {
    begin();
    if FAMILY.load(Ordering::Acquire).is_null() {
        return None;
    }
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
        free(&family.owners[block]);
    }
    NUMBERS[context].store(0, Ordering::Release);
}

/// A context was left to libssl because it lies in memory that processes share.
pub(super) fn note_left_shared() {
    begin();
    if let Some((_, process)) = process() {
        process.left_shared.fetch_add(1, Ordering::Relaxed);
    }
}

fn add_up(from: &Block, to: &Block) {
    for ((kind, from), (_, to)) in from.figures().zip(to.figures()) {
        let value = from.load(Ordering::Relaxed);
        match kind {
            Kind::Sum => to.fetch_add(value, Ordering::Relaxed),
            Kind::Most => to.fetch_max(value, Ordering::Relaxed),
            Kind::Now => continue,
        };
    }
}

fn clear(block: &Block) {
    block.figures().for_each(|(_, word)| word.store(0, Ordering::Relaxed));
}

fn copy(from: &Block, to: &Block) {
    for ((_, from), (_, to)) in from.figures().zip(to.figures()) {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

// ---- Who counts ----

/// This process image, as the lowest bit of [`IMAGE`] leaves room for.
fn image() -> u64 {
    u64::from(generation()) << 32 | u64::from(FORKS.load(Ordering::Relaxed)) << 1
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

/// In a child: takes a place, and blocks with what the parent's have. Returns whether it is done. While one thread is
/// at it the others' events are lost, rather than waited for.
#[cold]
fn begin_in_child(family: &'static Family, known: u64, now: u64) -> bool {
    // What a thread of the parent was changing at the fork, nobody here changes any more.
    if known == now | CHANGING
        || IMAGE
            .compare_exchange(known, now | CHANGING, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
    {
        return false;
    }
    take_over(family, now);
    IMAGE.store(now, Ordering::Release);
    true
}

fn take_over(family: &Family, now: u64) {
    let parents_place = PLACE.swap(NOWHERE, Ordering::Relaxed);
    let parents_owner = OWNER.load(Ordering::Relaxed);
    let parents_blocks: [usize; CONTEXTS] = std::array::from_fn(|context| {
        usize::from(CONTEXT_BLOCKS[context].swap(0, Ordering::Relaxed)).wrapping_sub(1)
    });
    let Some((place, free)) = take_place(family, now) else {
        family.header.uncounted.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let process = &family.processes[place];
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
    forget_fork(family);
}

/// Whether nobody has claimed this since.
fn is_unchanged(owner: &AtomicU64, since: u64) -> bool {
    freed(owner.load(Ordering::Relaxed)) == freed(since)
}

fn copy_process(from: &Process, to: &Process) {
    for (from, to) in
        [(&from.begun, &to.begun), (&from.ended, &to.ended), (&from.left_shared, &to.left_shared)]
    {
        to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    copy(&from.past, &to.past);
    copy(&from.others, &to.others);
}

fn clear_process(process: &Process) {
    for word in [&process.begun, &process.ended, &process.left_shared] {
        word.store(0, Ordering::Relaxed);
    }
    clear(&process.past);
    clear(&process.others);
}

fn process_pid(process: &Process) -> u32 {
    pid_of(process.owner.load(Ordering::Relaxed))
}

/// Takes a free place in the table, with what an earlier process has left there. Returns also its owner's word before.
/// `None` if there is none.
fn take_place(family: &Family, image: u64) -> Option<(usize, u64)> {
    if PID_OF.load(Ordering::Relaxed) != image {
        note_pid(family);
    }
    if IS_ELSEWHERE.load(Ordering::Relaxed) {
        return None;
    }
    let pid = PID.load(Ordering::Relaxed);
    // What an earlier process of this number has left is surely free.
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
    // A request was to whoever had the place before.
    process.request.store(0, Ordering::Relaxed);
    process.since.store(since_boot(), Ordering::Relaxed);
    OWNER.store(process.owner.load(Ordering::Relaxed), Ordering::Relaxed);
    Some((place, free))
}

/// Takes a free block for this process. It is shown when it is given to a context.
fn claim_block(family: &Family, pid: u32) -> Option<usize> {
    family.owners.iter().position(|owner| claim(owner, pid).is_some())
}

/// Claims what is free. Returns its word before.
fn claim(owner: &AtomicU64, pid: u32) -> Option<u64> {
    let is = owner.load(Ordering::Relaxed);
    let claims = pid_of(is) == 0
        && owner
            .compare_exchange(is, claimed(is, pid), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
    claims.then_some(is)
}

fn free(owner: &AtomicU64) {
    let is = owner.load(Ordering::Relaxed);
    let _ = owner.compare_exchange(is, freed(is), Ordering::AcqRel, Ordering::Relaxed);
}

/// Frees all that belongs to this pid: the blocks first, since the place names the pid for whoever comes after a process
/// that is killed in the middle of this.
fn give_up(family: &Family, pid: u32) {
    let places = family.processes.iter().map(|process| &process.owner);
    family
        .owners
        .iter()
        .chain(places)
        .filter(|owner| pid_of(owner.load(Ordering::Relaxed)) == pid)
        .for_each(free);
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

/// Nanoseconds of the clock that a process's start is measured by.
fn since_boot() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The mapping, for handlers.
fn family() -> Option<&'static Family> {
    // SAFETY: NULL, or a mapping of this size that is never undone; zero bytes are words.
    unsafe { FAMILY.load(Ordering::Acquire).as_ref() }
}

/// Before a fork: notes that a child is about to come, so that the parent does not take the file away from one that
/// has counted nothing yet, not even if it ends before the child has run.
extern "C" fn forks() {
    let Some(family) = family() else { return };
    // A process may have come into a namespace of its own without a handler's knowledge, and its children must know.
    if PID_OF.load(Ordering::Relaxed) != image() {
        note_pid(family);
    }
    note_fork(family, 0, PID.load(Ordering::Relaxed));
}

/// In the child: it is here, in place of one that was about to come. (Whichever: they are all alike.)
extern "C" fn forked() {
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

fn forget_fork(family: &Family) {
    if let Some(noted) = family.header.forked.get(NOTED.swap(NOWHERE, Ordering::Relaxed)) {
        let pid = u64::from(PID.load(Ordering::Relaxed));
        let _ = noted.compare_exchange(pid, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

// ---- The file ----

/// Its name for the C library, and whether system calls were filtered when it was made.
static PATH: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static FILTERED: AtomicI32 = AtomicI32::new(0);

/// This library's version.
const VERSION: u64 = version(
    number(env!("CARGO_PKG_VERSION_MAJOR")),
    number(env!("CARGO_PKG_VERSION_MINOR")),
    number(env!("CARGO_PKG_VERSION_PATCH")),
);

const fn number(digits: &str) -> u64 {
    match u64::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => panic!("cargo gives numbers"),
    }
}

/// Makes the file, if the operator wants one.
fn begin() {
    /// The process image in which a thread makes it; `DONE` when that is over.
    static MAKING: AtomicU64 = AtomicU64::new(0);
    const DONE: u64 = u64::MAX;
    if !options::get().statistics {
        return;
    }
    loop {
        let making = MAKING.load(Ordering::Acquire);
        let now = image();
        if making == DONE {
            return;
        }
        if making == now {
            // Another thread is at it. (Not a lock, nor `Once`: a child that was forked meanwhile would wait for ever.)
            uncancelled(|| std::thread::sleep(Duration::from_micros(100)));
        } else if MAKING.compare_exchange(making, now, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            if FAMILY.load(Ordering::Acquire).is_null() {
                begin_now();
            }
            MAKING.store(DONE, Ordering::Release);
        }
    }
}

fn begin_now() {
    // SAFETY: the handlers live as long as this object, with which they are registered.
    unsafe { libc::atexit(end) };
    // SAFETY: as above.
    unsafe { libc::pthread_atfork(Some(forks), None, Some(forked)) };
    if let Err(error) = uncancelled(make) {
        report::line(format_args!("no statistics: the file in {FOLDER} cannot be made: {error}"));
    }
}

fn make() -> io::Result<()> {
    const BYTES: u64 = size_of::<Family>() as u64;
    // Beyond the process's limit for files there would be a signal.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for the answer.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if known && limit.rlim_cur < BYTES {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    remove_stale();
    let pid = std::process::id();
    let start = files::start_of(pid).ok_or(io::ErrorKind::NotFound)?;
    let (file, path) = create(pid, start)?;
    let made = map(&file, BYTES);
    let Ok(family) = made else {
        let _ = fs::remove_file(&path);
        return made.map(drop);
    };
    for (word, bytes) in PATH.iter().zip(path.as_bytes().chunks(8)) {
        word.store(to_word(bytes), Ordering::Relaxed);
    }
    FILTERED.store(filtered(), Ordering::Relaxed);
    let header = &family.header;
    for (word, value) in [
        (&header.layout, LAYOUT),
        (&header.bytes, BYTES),
        (&header.namespace, files::namespace()),
        (&header.pid, pid.into()),
        (&header.start, start),
        (&header.version, VERSION),
    ] {
        word.store(value, Ordering::Relaxed);
    }
    // As `ps` shows it; it ends with a new line.
    let name = fs::read("/proc/self/comm").unwrap_or_default();
    let name = &name[..name.len().saturating_sub(1).min(NAME_WORDS * 8)];
    for (word, bytes) in header.name.iter().zip(name.chunks(8)) {
        word.store(to_word(bytes), Ordering::Relaxed);
    }
    let now = image();
    IMAGE.store(now, Ordering::Relaxed);
    if let Some((place, _)) = take_place(family, now) {
        family.processes[place].owner.fetch_or(READY, Ordering::Release);
        PLACE.store(place, Ordering::Relaxed);
    }
    FAMILY.store(std::ptr::from_ref(family).cast_mut(), Ordering::Release);
    // Last: now it is a statistics file.
    header.magic.store(MAGIC, Ordering::Release);
    Ok(())
}

fn to_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

/// A file of our own, which nobody else can have made.
fn create(pid: u32, start: u64) -> io::Result<(File, String)> {
    let mut number = 0;
    loop {
        let name = Name { pid, start, number };
        let path = format!("{FOLDER}/{name}");
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let about = fs::symlink_metadata(&path)?;
                // SAFETY: no preconditions.
                if about.uid() != unsafe { libc::geteuid() } || number + 1 == PROGRAMS {
                    return Err(error);
                }
                // The program that this process was before an exec may have left it, or its children use it.
                let is_used = open_regular(path.as_ref()).is_ok_and(|(file, about)| {
                    files::in_use(name, &file, &about, &Processes::default()) != Use::Stale
                });
                if is_used { number += 1 } else { fs::remove_file(&path)? }
            }
            made => return Ok((made?, path)),
        }
    }
}

/// Opens a regular file that may be anybody's: no link is followed, and no pipe is waited for.
fn open_regular(path: &Path) -> io::Result<(File, fs::Metadata)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let about = file.metadata()?;
    if about.is_file() { Ok((file, about)) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Removes what processes have left that were killed.
fn remove_stale() {
    // SAFETY: no preconditions.
    let user = unsafe { libc::geteuid() };
    let Ok(folder) = fs::read_dir(FOLDER) else { return };
    let processes = Processes::default();
    for entry in folder.filter_map(Result::ok) {
        let Some(name) = entry.file_name().to_str().and_then(Name::parse) else { continue };
        let Ok((file, about)) = open_regular(&entry.path()) else { continue };
        let ours = about.uid() == user || user == 0;
        if ours && files::in_use(name, &file, &about, &processes) == Use::Stale {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn map(file: &File, bytes: u64) -> io::Result<&'static Family> {
    // Not by a length alone: a hole that cannot be filled because the folder is full would be a fatal signal at
    // the first figure written there.
    // SAFETY: our own descriptor.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as libc::off_t) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let (null, length) = (std::ptr::null_mut(), bytes as usize);
    // SAFETY: anywhere; our own descriptor.
    let at = unsafe { libc::mmap(null, length, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a mapping of this size, on a page, that is never undone; zero bytes are words.
    Ok(unsafe { &*at.cast::<Family>() })
}

/// The kernel's filter of system calls for this thread: 0 none, 2 there is one, negative if it does not say.
fn filtered() -> i32 {
    // SAFETY: a plain query.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP) }
}

/// At exit: gives this process's place up, and takes the file away if it was the last. No lock and no memory, since a
/// handler of a signal may have called `exit`.
extern "C" fn end() {
    let Some(family) = family() else { return };
    // What comes after this, such as contexts that the program frees at exit, counts for nobody: nor does a child that
    // has counted nothing take a place any more.
    FAMILY.store(std::ptr::null_mut(), Ordering::Release);
    let now = image();
    if IMAGE.load(Ordering::Acquire) == now && PLACE.load(Ordering::Relaxed) != NOWHERE {
        give_up(family, pid_of(OWNER.load(Ordering::Relaxed)));
    }
    let known = PID_OF.load(Ordering::Relaxed) == now;
    if known {
        forget_fork(family);
    }
    let mut owners = family
        .processes
        .iter()
        .map(|process| &process.owner)
        .chain(&family.header.forked)
        .map(|word| pid_of(word.load(Ordering::Relaxed)));
    let is_maker = known
        && u64::from(PID.load(Ordering::Relaxed)) == family.header.pid.load(Ordering::Relaxed);
    // A child may be sandboxed: as long as there is anybody else it makes no system call.
    if !is_maker && owners.any(|pid| pid != 0) {
        return;
    }
    // A process that has been sandboxed since the file was made may have no right to take it away: then the next to
    // begin does that.
    if filtered() != FILTERED.load(Ordering::Relaxed) || owners.any(lives) {
        return;
    }
    let mut path = [0; PATH.len()];
    for (to, word) in path.iter_mut().zip(&PATH) {
        *to = word.load(Ordering::Relaxed);
    }
    // SAFETY: a string, as `make` left it: shorter than this room.
    unsafe { libc::unlink(path.as_ptr().cast()) };
}

fn lives(pid: u32) -> bool {
    // SAFETY: no signal, only whether there is such a process.
    pid != 0
        && (unsafe { libc::kill(pid as libc::pid_t, 0) } == 0
            || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}

const _: () = assert!(BLOCKS < u16::MAX as usize && PROCESSES < NOWHERE);
