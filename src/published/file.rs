//! The statistics file of this family of processes: made with the first context, written through one mapping that
//! children of a fork inherit, and taken away by the last process that ends by `exit`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
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
use crate::system::{self, uncancelled};
use crate::{memory, options, report};

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
    system::atexit(end);
    system::pthread_atfork(Some(image::forks), None, Some(image::forked));
    let complain = |error: io::Error| {
        report::line(format_args!("no statistics: the file in {FOLDER} cannot be made: {error}"));
    };
    // SAFETY: one thread at a time makes it, and what stays of that is the mapping and words.
    let made = uncancelled(|| unsafe { memory::with_room(|| make().unwrap_or_else(complain)) });
    made.unwrap_or_else(|| complain(io::ErrorKind::OutOfMemory.into()));
}

fn make() -> io::Result<()> {
    const BYTES: u64 = size_of::<Family>() as u64;
    // Beyond the process's limit for files there would be a signal.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let known = system::getrlimit(libc::RLIMIT_FSIZE, &mut limit) == 0;
    if known && limit.rlim_cur < BYTES {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    remove_stale();
    let pid = std::process::id();
    let start = files::start_of(pid).ok_or(io::ErrorKind::NotFound)?;
    let (file, path) = create(pid, start)?;
    let made = system::map_shared(&file, BYTES as usize);
    let at = made.inspect_err(|_| drop(fs::remove_file(&path)))?;
    // SAFETY: a mapping of this size, on a page, that is never undone; zero bytes are words.
    let family = unsafe { &*at.cast::<Family>() };
    for (word, bytes) in PATH.iter().zip(path.as_bytes().chunks(8)) {
        word.store(to_word(bytes), Ordering::Relaxed);
    }
    FILTERED.store(system::system_call_filter(), Ordering::Relaxed);
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
    image::begin(family);
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
                if about.uid() != system::geteuid() || number + 1 == PROGRAMS {
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
    let user = system::geteuid();
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

/// At exit: gives this process's place up, and takes the file away if it was the last. No lock and no memory, since a
/// handler of a signal may have called `exit`.
extern "C" fn end() {
    let Some(family) = image::family() else { return };
    // Contexts that the program frees after this count for nobody, and a child that has counted nothing takes no place any
    // more.
    image::end();
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
    if system::system_call_filter() != FILTERED.load(Ordering::Relaxed) || owners.any(lives) {
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
    // No signal, only the question whether there is such a process.
    pid != 0 && (system::kill(pid as libc::pid_t, 0) == 0 || system::errno() == libc::EPERM)
}
