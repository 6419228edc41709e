//! The statistics file of this family of processes: made with the first context, written through one mapping that
//! children of a fork inherit, and taken away by the last process that ends by `exit`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use sslsweep_figures::files::{self, FOLDER, Name, PROGRAMS, Use};
use sslsweep_figures::processes::Processes;
use sslsweep_figures::{Family, LAYOUT, MAGIC, NAME_WORDS, pid_of, version};

use super::image::{self, image};
use super::place;
use crate::guard::uncancelled;
use crate::{options, report};

/// Its name, padded with zero bytes, and whether system calls were filtered when it was made.
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
pub(super) fn begin() {
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
            if image::family().is_none() {
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
    unsafe { libc::pthread_atfork(Some(image::forks), None, Some(image::forked)) };
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
    place::begin(family);
    image::set_family(Some(family));
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
    let Some(family) = image::family() else { return };
    // What comes after this, such as contexts that the program frees at exit, counts for nobody: nor does a child that
    // has counted nothing take a place any more.
    image::set_family(None);
    place::leave(family);
    let pid = image::known_pid();
    if pid.is_some() {
        image::forget_fork(family);
    }
    let mut owners = family
        .processes
        .iter()
        .map(|process| &process.owner)
        .chain(&family.header.forked)
        .map(|word| pid_of(word.load(Ordering::Relaxed)));
    let maker = family.header.pid.load(Ordering::Relaxed);
    let is_maker = pid.is_some_and(|pid| u64::from(pid) == maker);
    // A child may be sandboxed: as long as there is anybody else it makes no system call.
    if !is_maker && owners.any(|pid| pid != 0) {
        return;
    }
    // A process that has been sandboxed since the file was made may have no right to take it away: then the next to
    // begin does that.
    if filtered() != FILTERED.load(Ordering::Relaxed) || owners.any(lives) {
        return;
    }
    let mut path = [0; size_of_val(&PATH)];
    for (to, word) in path.chunks_mut(8).zip(&PATH) {
        to.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    let length = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
    let _ = fs::remove_file(OsStr::from_bytes(&path[..length]));
}

fn lives(pid: u32) -> bool {
    // SAFETY: no signal, only whether there is such a process.
    pid != 0
        && (unsafe { libc::kill(pid as libc::pid_t, 0) } == 0
            || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}
