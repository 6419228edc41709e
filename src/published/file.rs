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
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::time::Duration;

use sslsweep_figures::files::{self, FOLDER, Name, PROGRAMS, Use};
use sslsweep_figures::{
    BLOCKS, Block, CONTEXTS, FORKED, Family, LAYOUT, MAGIC, NAME_WORDS, PROCESSES, Process, READY,
    STRIPES, pid_of,
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

/// The place in the table, and the pid that took it; `NOWHERE`: this process counts for nobody.
static PLACE: AtomicUsize = AtomicUsize::new(NOWHERE);
static TAKER: AtomicU32 = AtomicU32::new(0);
const NOWHERE: usize = usize::MAX;

/// This process, or one that it descends from, is the first of a pid namespace that was made after the file: its pid
/// means another process to whoever reads.
static IS_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Where in `forked` this process was noted at the fork.
static NOTED: AtomicUsize = AtomicUsize::new(NOWHERE);

/// Of each context that publishes: its number, 0 for none, and its block, counted from 1, 0 for none.
static NUMBERS: [AtomicU64; CONTEXTS] = [const { AtomicU64::new(0) }; CONTEXTS];
static CONTEXT_BLOCKS: [AtomicU16; CONTEXTS] = [const { AtomicU16::new(0) }; CONTEXTS];

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

/// The figures of a context; none where nothing is published, or while another thread makes this child's place.
pub(super) fn figures(context: usize) -> Option<Figures> {
    let (family, process) = process()?;
    let number = CONTEXT_BLOCKS.get(context).map_or(0, |block| block.load(Ordering::Relaxed));
    let own = usize::from(number).checked_sub(1).and_then(|block| family.blocks.get(block));
    Some(own.map_or(Figures::Shared(&process.others), Figures::Own))
}

/// The figures of a context, whosever they are together with.
pub(super) fn any_figures(context: usize) -> Option<&'static Block> {
    figures(context).map(|figures| match figures {
        Figures::Own(block) | Figures::Shared(block) => block,
    })
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
pub(super) fn claim() -> Option<usize> {
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
    let Some(block) = claim_block(family, pid_of(process.owner.load(Ordering::Relaxed))) else {
        NUMBERS[context].store(0, Ordering::Release);
        return Some(OTHERS);
    };
    clear(&family.blocks[block]);
    family.blocks[block].number.store(number, Ordering::Relaxed);
    set_ready(&family.owners[block]);
    CONTEXT_BLOCKS[context].store(block as u16 + 1, Ordering::Release);
    Some(context)
}

/// A context ends: what is in its block goes to those that have ended.
pub(super) fn release(context: usize) {
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
        family.owners[block].store(0, Ordering::Release);
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

/// The counters of a block: all that adds up.
fn counters(block: &Block) -> impl Iterator<Item = &AtomicU64> {
    let single = [
        &block.stores,
        &block.hits,
        &block.misses,
        &block.external_hits,
        &block.external_misses,
        &block.evictions,
        &block.flushed,
        &block.removals,
        &block.flushes,
    ];
    single.into_iter().chain(&block.flush_times).chain(&block.batch_times)
}

/// What says how it is now, or was last.
fn states(block: &Block) -> impl Iterator<Item = &AtomicU64> {
    let single = [
        &block.number,
        &block.sessions,
        &block.limit,
        &block.longest_batch,
        &block.last_flush,
        &block.last_removed,
        &block.last_took,
        &block.curve_made,
    ];
    single.into_iter().chain(&block.curve).chain(&block.reserved)
}

fn stripes(block: &Block) -> impl Iterator<Item = &AtomicU64> {
    block.stripes.iter().flat_map(|stripe| [&stripe.hits, &stripe.misses])
}

fn add_up(from: &Block, to: &Block) {
    for (from, to) in counters(from).zip(counters(to)) {
        to.fetch_add(from.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    for stripe in &from.stripes {
        to.hits.fetch_add(stripe.hits.load(Ordering::Relaxed), Ordering::Relaxed);
        to.misses.fetch_add(stripe.misses.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    to.longest_batch.fetch_max(from.longest_batch.load(Ordering::Relaxed), Ordering::Relaxed);
}

fn every(block: &Block) -> impl Iterator<Item = &AtomicU64> {
    states(block).chain(counters(block)).chain(stripes(block))
}

fn clear(block: &Block) {
    every(block).for_each(|word| word.store(0, Ordering::Relaxed));
}

fn copy(from: &Block, to: &Block) {
    for (from, to) in every(from).zip(every(to)) {
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
    let parent = PLACE.swap(NOWHERE, Ordering::Relaxed);
    let taker = TAKER.load(Ordering::Relaxed);
    // The parent may have ended since, and others have come to its place.
    let is_parents = |owner: &AtomicU64| {
        let owner = pid_of(owner.load(Ordering::Relaxed));
        owner == taker || owner == 0
    };
    let place = take_place(family, now);
    let former: [u16; CONTEXTS] =
        std::array::from_fn(|context| CONTEXT_BLOCKS[context].swap(0, Ordering::Relaxed));
    match place {
        None => {
            family.header.uncounted.fetch_add(1, Ordering::Relaxed);
        }
        Some(place) => {
            let process = &family.processes[place];
            let parent = family.processes.get(parent).filter(|parent| is_parents(&parent.owner));
            if let Some(parent) = parent {
                for (from, to) in [
                    (&parent.begun, &process.begun),
                    (&parent.ended, &process.ended),
                    (&parent.left_shared, &process.left_shared),
                ] {
                    to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                copy(&parent.past, &process.past);
                copy(&parent.others, &process.others);
            }
            for (context, former) in former.into_iter().enumerate() {
                let Some(former) = usize::from(former).checked_sub(1) else { continue };
                let Some(block) = claim_block(family, TAKER.load(Ordering::Relaxed)) else { break };
                if is_parents(&family.owners[former]) {
                    copy(&family.blocks[former], &family.blocks[block]);
                } else {
                    clear(&family.blocks[block]);
                }
                let number = NUMBERS[context].load(Ordering::Relaxed);
                family.blocks[block].number.store(number, Ordering::Relaxed);
                set_ready(&family.owners[block]);
                CONTEXT_BLOCKS[context].store(block as u16 + 1, Ordering::Relaxed);
            }
            set_ready(&process.owner);
            PLACE.store(place, Ordering::Relaxed);
            forget_fork(family);
        }
    }
    IMAGE.store(now, Ordering::Release);
    true
}

/// Takes a free place in the table, and empties it. `None` if there is none.
fn take_place(family: &Family, image: u64) -> Option<usize> {
    if PID_OF.load(Ordering::Relaxed) != image {
        note_pid(family);
    }
    if IS_ELSEWHERE.load(Ordering::Relaxed) {
        return None;
    }
    let pid = PID.load(Ordering::Relaxed);
    // What an earlier process of this number has left is surely free.
    give_up(family, pid);
    let place = family.processes.iter().position(|process| {
        let owner = process.owner.load(Ordering::Relaxed);
        if owner != 0 && process.dead.load(Ordering::Relaxed) == u64::from(pid_of(owner)) {
            give_up(family, pid_of(owner));
        }
        let mine = u64::from(pid);
        process.owner.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    })?;
    let process = &family.processes[place];
    for word in [&process.dead, &process.begun, &process.ended, &process.left_shared] {
        word.store(0, Ordering::Relaxed);
    }
    process.since.store(since_boot(), Ordering::Relaxed);
    clear(&process.past);
    clear(&process.others);
    TAKER.store(pid, Ordering::Relaxed);
    Some(place)
}

/// Takes a free block for this process. It is shown when it is set ready.
fn claim_block(family: &Family, pid: u32) -> Option<usize> {
    family.owners.iter().position(|owner| {
        owner.load(Ordering::Relaxed) == 0
            && owner
                .compare_exchange(0, u64::from(pid), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    })
}

fn set_ready(owner: &AtomicU64) {
    owner.fetch_or(READY, Ordering::Release);
}

/// Frees all that belongs to this pid: the blocks first, since the place names the pid for who comes after a process
/// that is killed in the middle of this.
fn give_up(family: &Family, pid: u32) {
    let places = family.processes.iter().map(|process| &process.owner);
    for owner in family.owners.iter().chain(places) {
        let is = owner.load(Ordering::Relaxed);
        if is != 0 && pid_of(is) == pid {
            let _ = owner.compare_exchange(is, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// Asks the system which process this is.
fn note_pid(family: &Family) -> u32 {
    let pid = std::process::id();
    if pid == 1 && family.header.pid.load(Ordering::Relaxed) != 1 {
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

/// Before a fork: a process that came into a namespace without a handler's knowledge tells its children.
extern "C" fn forks() {
    if let Some(family) = family().filter(|_| PID_OF.load(Ordering::Relaxed) != image()) {
        note_pid(family);
    }
}

/// In a child of a fork, as far as handlers run: notes that there is one, so that the parent does not take the file
/// away from a child that has counted nothing yet.
extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    let Some(family) = family() else { return };
    let pid = u64::from(note_pid(family));
    let forked = &family.header.forked;
    let free = forked.iter().position(|noted| {
        noted.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    });
    let at = free.unwrap_or_else(|| {
        // Most have executed another program: in turn, the oldest is forgotten.
        let turn = family.header.forks.fetch_add(1, Ordering::Relaxed) as usize % FORKED;
        forked[turn].store(pid, Ordering::Relaxed);
        turn
    });
    NOTED.store(at, Ordering::Relaxed);
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
    if let Some(place) = take_place(family, now) {
        set_ready(&family.processes[place].owner);
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
                if is_used(name, &path, &about) { number += 1 } else { fs::remove_file(&path)? }
            }
            made => return Ok((made?, path)),
        }
    }
}

/// Whether this is a statistics file that a process has mapped.
fn is_used(name: Name, path: &str, about: &fs::Metadata) -> bool {
    about.is_file()
        && OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .and_then(|file| Ok(files::in_use(name, &file, &file.metadata()?)))
            .is_ok_and(|found| found == Use::Live)
}

/// Removes what processes have left that were killed.
fn remove_stale() {
    // SAFETY: no preconditions.
    let user = unsafe { libc::geteuid() };
    let Ok(folder) = fs::read_dir(FOLDER) else { return };
    for entry in folder.filter_map(Result::ok) {
        let Some(name) = entry.file_name().to_str().and_then(Name::parse) else { continue };
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(entry.path());
        let Ok(file) = file else { continue };
        let Ok(about) = file.metadata() else { continue };
        let ours = about.is_file() && (about.uid() == user || user == 0);
        if ours && files::in_use(name, &file, &about) == Use::Stale {
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
        give_up(family, TAKER.load(Ordering::Relaxed));
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
