//! The statistics file of this process: made with the first context, written through one mapping, and taken
//! away at exit.
//!
//! A child of a fork goes on with a copy, and gets a file of its own with its first change: one that only
//! executes another program would leave it behind.

use std::ffi::{CStr, c_int, c_void};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::layout::*;
use crate::guard::uncancelled;
use crate::{options, report};

/// The words of the file; NULL where nothing is published.
static WORDS_OF_FILE: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// In a child that has no file of its own yet.
static WITHOUT_FILE: AtomicBool = AtomicBool::new(false);

/// Why this process has no file, as an `errno`, until that has been said; 0: it has one.
static UNSAID: AtomicI32 = AtomicI32::new(0);

/// Says why a child of a fork has no file, once. For where no lock is held.
pub(super) fn say_what_failed() {
    if UNSAID.load(Ordering::Relaxed) != 0 {
        let error = UNSAID.swap(0, Ordering::Relaxed);
        if error != 0 {
            say(&io::Error::from_raw_os_error(error));
        }
    }
}

fn say(why: &io::Error) {
    report::line(&format!("no statistics: the file in {FOLDER} cannot be made: {why}"));
}

const BYTES: usize = WORDS * size_of::<u64>();

fn words() -> Option<&'static [AtomicU64]> {
    if WITHOUT_FILE.load(Ordering::Relaxed) && WITHOUT_FILE.swap(false, Ordering::Relaxed) {
        // What another thread adds in this moment may be lost. Should it fail, this process counts for itself, and
        // says so later: there may be a lock here, and whoever reads standard error may be slow.
        let made = uncancelled(|| make(WORDS_OF_FILE.load(Ordering::Relaxed)));
        if let Err(error) = made {
            UNSAID.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Relaxed);
        }
    }
    let first = WORDS_OF_FILE.load(Ordering::Acquire);
    // SAFETY: a mapping of so many words that is never undone; zero bytes are words.
    (!first.is_null()).then(|| unsafe { std::slice::from_raw_parts(first, WORDS) })
}

fn header(word: Header) -> Option<&'static AtomicU64> {
    words()?.get(word as usize)
}

/// The words of a block, for who writes several.
pub(super) fn block(number: usize) -> Option<&'static [AtomicU64; BLOCK_WORDS]> {
    words()?.get(HEADER_WORDS + number * BLOCK_WORDS..)?.first_chunk()
}

fn place(block: usize, word: usize) -> Option<&'static AtomicU64> {
    self::block(block)?.get(word)
}

/// Adds to a word of a block.
pub(super) fn add(block: usize, word: usize, more: u64) {
    if let Some(place) = place(block, word) {
        place.fetch_add(more, Ordering::Relaxed);
    }
}

/// Counts a lookup among the block's hits or misses, in the stripe of this thread.
pub(super) fn count_lookup(block: usize, word: Word) {
    thread_local! {
        static STRIPE: usize = {
            static THREADS: AtomicUsize = AtomicUsize::new(0);
            THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES
        };
    }
    let stripe = STRIPE.try_with(|&stripe| stripe).unwrap_or(0);
    add(block, in_stripe(stripe, word), 1);
}

fn in_stripe(stripe: usize, word: Word) -> usize {
    FIGURES + stripe * STRIPE_WORDS + (word as usize - Word::Hits as usize)
}

/// Writes a word of a block.
pub(super) fn set(block: usize, word: usize, value: u64) {
    if let Some(place) = place(block, word) {
        place.store(value, Ordering::Relaxed);
    }
}

/// Writes a word of a block unless it is larger.
pub(super) fn raise(block: usize, word: usize, value: u64) {
    if let Some(place) = place(block, word) {
        place.fetch_max(value, Ordering::Relaxed);
    }
}

/// Takes a block for a context that begins; that of all others where none is free.
pub(super) fn claim() -> Option<usize> {
    begin();
    let number = header(Header::Begun)?.fetch_add(1, Ordering::Relaxed) + 1;
    let free = (OTHERS + 1..BLOCKS).find(|&block| {
        place(block, Word::Number as usize).is_some_and(|place| {
            place.compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    });
    Some(free.unwrap_or(OTHERS))
}

/// Gives a block up: what is in it goes to those that have ended.
pub(super) fn release(block: usize) {
    if let Some(ended) = header(Header::Ended) {
        ended.fetch_add(1, Ordering::Relaxed);
    }
    if block == OTHERS {
        return;
    }
    for word in 1..BLOCK_WORDS {
        let Some(place) = place(block, word) else { return };
        let value = place.swap(0, Ordering::Relaxed);
        if let Some(sum) = counter(word) {
            add(ENDED, sum, value);
        } else if word == Word::LongestBatch as usize {
            raise(ENDED, word, value);
        }
    }
    set(block, Word::Number as usize, 0);
}

/// Where a word of a block adds up, if it is a counter.
fn counter(word: usize) -> Option<usize> {
    if word >= FIGURES {
        let at = (word - FIGURES) % STRIPE_WORDS;
        return (at < 2).then_some(Word::Hits as usize + at);
    }
    let counts = (Word::Stores as usize..=Word::Flushes as usize).contains(&word)
        || (Word::FlushTimes as usize..Word::BatchTimes as usize + STEPS).contains(&word);
    counts.then_some(word)
}

/// Makes the file, if the operator wants one.
fn begin() {
    static BEGUN: Once = Once::new();
    if !options::get().statistics {
        return;
    }
    BEGUN.call_once(|| match make(std::ptr::null_mut()) {
        Ok(()) => {
            // SAFETY: the handlers live as long as this object, with which they are registered.
            unsafe { libc::atexit(end) };
            // SAFETY: as above.
            unsafe { libc::pthread_atfork(None, None, Some(begin_in_child)) };
        }
        Err(error) => say(&error),
    });
}

/// In a child of a fork: a copy of the parent's figures takes the place of the parent's file. Only what a signal
/// handler may do is done here.
extern "C" fn begin_in_child() {
    let first = WORDS_OF_FILE.load(Ordering::Relaxed);
    if first.is_null() {
        return;
    }
    let map = |at: *mut c_void, flags| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
        // SAFETY: anywhere, or over the mapping that is there, which nothing but words are read from.
        unsafe { libc::mmap(at, BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) }
    };
    let copy = map(std::ptr::null_mut(), 0);
    if copy == libc::MAP_FAILED {
        // What counts for nobody must not count for the parent.
        map(first.cast(), libc::MAP_FIXED);
        return;
    }
    for used in used_words(first) {
        // SAFETY: within the mapping that is there.
        let from = unsafe { first.add(used.start) };
        // SAFETY: within the copy.
        let to = unsafe { copy.cast::<AtomicU64>().add(used.start) };
        // SAFETY: so many words in either, which do not overlap.
        unsafe { to.copy_from_nonoverlapping(from, used.len()) };
    }
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: the copy takes the place of the mapping that is there.
    unsafe { libc::mremap(copy, BYTES, BYTES, flags, first) };
    WITHOUT_FILE.store(true, Ordering::Relaxed);
}

/// The parts of a file in which there is something.
fn used_words(first: *const AtomicU64) -> impl Iterator<Item = Range<usize>> {
    let shared = 0..HEADER_WORDS + (OTHERS + 1) * BLOCK_WORDS;
    let blocks = (OTHERS + 1..BLOCKS).map(|block| HEADER_WORDS + block * BLOCK_WORDS);
    let used = blocks.filter(move |&at| {
        // SAFETY: within the mapping.
        let number = unsafe { first.add(at + Word::Number as usize) };
        // SAFETY: as above; zero bytes are a word.
        unsafe { &*number }.load(Ordering::Relaxed) != 0
    });
    std::iter::once(shared).chain(used.map(|at| at..at + BLOCK_WORDS))
}

extern "C" fn end() {
    // What comes after this, such as contexts that the program frees at exit, makes no file any more.
    if WITHOUT_FILE.swap(false, Ordering::Relaxed) {
        return;
    }
    if let Some((path, _)) = path() {
        // SAFETY: a string.
        unsafe { libc::unlink(path.as_ptr()) };
    }
}

/// Makes the file and maps it: over `former`, with what is there, or anywhere.
fn make(former: *mut AtomicU64) -> io::Result<()> {
    // Beyond the process's limit for files there would be a signal.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for the answer.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0;
    if known && limit.rlim_cur < BYTES as libc::rlim_t {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let (path, start) = path().ok_or_else(io::Error::last_os_error)?;
    let file = create(&path);
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    let mapped = fill_and_map(file, former);
    let error = io::Error::last_os_error();
    // SAFETY: our own descriptor.
    unsafe { libc::close(file) };
    if mapped == libc::MAP_FAILED {
        // SAFETY: a string.
        unsafe { libc::unlink(path.as_ptr()) };
        return Err(error);
    }
    let first: *mut AtomicU64 = mapped.cast();
    WORDS_OF_FILE.store(first, Ordering::Release);
    let set = |word: Header, value: u64| {
        if let Some(place) = header(word) {
            place.store(value, Ordering::Relaxed);
        }
    };
    set(Header::Layout, LAYOUT);
    // SAFETY: no preconditions.
    set(Header::Pid, unsafe { libc::getpid() } as u64);
    set(Header::Start, start);
    write_name();
    // Last: now it is a statistics file.
    set(Header::Magic, MAGIC);
    Ok(())
}

/// A file of our own under this name, which nobody else can have made.
fn create(path: &Path) -> c_int {
    for _ in 0..2 {
        let flags =
            libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        // SAFETY: a string.
        let file = unsafe { libc::open(path.as_ptr(), flags, 0o600) };
        if file >= 0 {
            return file;
        }
        // The program that this process was before an exec may have left it.
        let mut found = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: a string, and room for the answer.
        if unsafe { libc::lstat(path.as_ptr(), found.as_mut_ptr()) } != 0 {
            return -1;
        }
        // SAFETY: filled in.
        let found = unsafe { found.assume_init() };
        // SAFETY: no preconditions.
        if found.st_uid != unsafe { libc::geteuid() } {
            return -1;
        }
        // SAFETY: a string.
        unsafe { libc::unlink(path.as_ptr()) };
    }
    -1
}

fn fill_and_map(file: c_int, former: *mut AtomicU64) -> *mut c_void {
    // Not by ftruncate alone: a hole that cannot be filled because the folder is full would be a fatal signal at
    // the first figure written there.
    // SAFETY: our own descriptor.
    if unsafe { libc::fallocate(file, 0, 0, BYTES as libc::off_t) } != 0 {
        return libc::MAP_FAILED;
    }
    let mut flags = libc::MAP_SHARED;
    if !former.is_null() {
        flags |= libc::MAP_FIXED;
        for used in used_words(former) {
            // Not the first word, which says that it is a statistics file: it is not yet this process's.
            let used = used.start.max(1)..used.end;
            let (at, bytes) = (used.start * size_of::<u64>(), used.len() * size_of::<u64>());
            // SAFETY: within the mapping that is there.
            let from = unsafe { former.add(used.start) };
            // SAFETY: as above.
            let written = unsafe { libc::pwrite(file, from.cast(), bytes, at as libc::off_t) };
            if usize::try_from(written) != Ok(bytes) {
                return libc::MAP_FAILED;
            }
        }
    }
    // SAFETY: anywhere, or over the mapping that is there, which nothing but words are read from.
    unsafe { libc::mmap(former.cast(), BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, file, 0) }
}

/// The program's name, as `ps` shows it.
fn write_name() {
    let mut name = [0u8; 8 * NAME_WORDS];
    let length = read_into(c"/proc/self/comm", &mut name);
    // It ends with a new line.
    name[length.saturating_sub(1)..].fill(0);
    let words =
        name.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    for (at, word) in words.enumerate() {
        if let Some(place) = self::words().and_then(|all| all.get(Header::Name as usize + at)) {
            place.store(word, Ordering::Relaxed);
        }
    }
}

/// The name of this process's file, made without allocating.
struct Path([u8; 64]);

impl Path {
    fn as_ptr(&self) -> *const std::ffi::c_char {
        self.0.as_ptr().cast()
    }
}

/// The name, and the start of the process that is part of it.
fn path() -> Option<(Path, u64)> {
    let mut stat = [0; 1024];
    let length = read_into(c"/proc/self/stat", &mut stat);
    // The second field is the program's name in brackets, with whatever in it.
    let after = stat[..length].rsplitn(2, |&byte| byte == b')').next()?;
    let field = after.split(|&byte| byte == b' ').nth(20)?;
    let start = std::str::from_utf8(field).ok()?.parse().ok()?;
    // SAFETY: no preconditions.
    let pid = unsafe { libc::getpid() };
    let mut path = Path([0; 64]);
    let room = path.0.len() - 1;
    write!(&mut path.0[..room], "{FOLDER}/{PREFIX}{pid}.{start}").ok()?;
    Some((path, start))
}

/// Reads the beginning of a file. Returns how much that was.
fn read_into(path: &CStr, buffer: &mut [u8]) -> usize {
    // SAFETY: a string.
    let file = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return 0;
    }
    // SAFETY: our own descriptor, and room for as much.
    let read = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) };
    // SAFETY: our own descriptor.
    unsafe { libc::close(file) };
    usize::try_from(read).unwrap_or(0)
}
