//! Reads one statistics file, and writes the two words that a reader may write.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sslsweep_figures::files::{Name, Use, in_use, start_of};
use sslsweep_figures::processes::{Processes, exists, is_mapped_by};
use sslsweep_figures::{
    Family, Header, LAYOUT, MAGIC, Process, REQUEST_ALL, Word, is_ready, pid_of,
};

use super::block::Block;
use super::process::{Figures, Source};
use super::sharing::Sharing;
use crate::system::{now, user};
use crate::text::{plain, printable};

const IRREGULAR: &str = "is not a regular file; remove it";

const OTHER_LAYOUT: &str =
    "is of another version of sslsweep; restart its program, or use the command of that version";

/// Opens a file that may be of any kind and anybody's.
fn open(path: &Path, write: bool) -> io::Result<File> {
    // Without O_NONBLOCK a pipe of that name would block.
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

/// The offset of a process in the table.
pub(super) fn process_at(place: usize) -> usize {
    offset_of!(Family, processes) + place * size_of::<Process>()
}

fn get(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

/// A copy of a file in memory.
pub(super) struct Contents(Box<Family>);

impl Contents {
    pub fn empty() -> Contents {
        let mut family = Box::<Family>::new_uninit();
        // SAFETY: the box has room for one.
        unsafe { family.as_mut_ptr().write_bytes(0, 1) };
        // SAFETY: a family is made of integers, which may be zero.
        Contents(unsafe { family.assume_init() })
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        let first = (&raw mut *self.0).cast();
        // SAFETY: the box is borrowed for as long, and any bytes are integers.
        unsafe { std::slice::from_raw_parts_mut(first, size_of::<Family>()) }
    }

    /// Reads a file of this length; bytes that are missing are zero.
    fn read(file: &File, length: u64) -> io::Result<Contents> {
        let mut contents = Contents::empty();
        let length = length.min(size_of::<Family>() as u64) as usize;
        file.read_exact_at(&mut contents.bytes()[..length], 0)?;
        Ok(contents)
    }

    fn header(&self) -> &Header {
        &self.0.header
    }

    /// Checks the header; the error says why the file cannot be used.
    fn check(&self) -> Result<(), &'static str> {
        if get(&self.header().magic) != MAGIC {
            return Err("is not a statistics file; remove it");
        }
        if get(&self.header().layout) != LAYOUT {
            return Err(OTHER_LAYOUT);
        }
        if get(&self.header().bytes) != size_of::<Family>() as u64 {
            return Err("is damaged; remove it");
        }
        Ok(())
    }

    fn program(&self) -> String {
        let name: Vec<u8> =
            self.header().name.iter().flat_map(|word| get(word).to_ne_bytes()).collect();
        printable(name.split(|&byte| byte == 0).next().unwrap_or_default())
    }

    /// The figures of the process in this place of the table, if it is ready.
    pub fn process(&self, place: usize) -> Option<Figures> {
        let process = &self.0.processes[place];
        let owner = get(&process.owner);
        let pid = pid_of(owner);
        if pid == 0 || !is_ready(owner, pid) {
            return None;
        }
        // Two contexts of one number would be two series of one name.
        let mut seen = HashSet::new();
        let owned = self.0.owners.iter().zip(&self.0.blocks);
        let mut contexts: Vec<Block> = owned
            .filter(|(owner, _)| is_ready(get(owner), pid))
            .map(|(_, block)| Block::from(block))
            .filter(|block| block.get(Word::Number) != 0 && seen.insert(block.get(Word::Number)))
            .collect();
        contexts.sort_by_key(|block| block.get(Word::Number));
        Some(Figures {
            pid,
            start: 0,
            uid: 0,
            program: self.program(),
            begun: get(&process.begun),
            ended: get(&process.ended),
            left_shared: get(&process.left_shared),
            sharing: Sharing::from(process),
            version: get(&self.header().version),
            request: get(&process.request),
            contexts,
            past: Block::from(&process.past),
            others: Block::from(&process.others),
            source: Source { path: PathBuf::new(), place, pid },
        })
    }
}

/// A file that has not been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub path: PathBuf,
    pub name: Name,
    /// It is in our own folder, not in a container's, so it may be removed when it is stale.
    pub ours: bool,
}

/// The contents of a file.
#[derive(Debug)]
pub(super) struct Found {
    /// The living processes.
    pub processes: Vec<Figures>,
    /// The number of times that a process found no room.
    pub uncounted: u64,
    /// The device and inode: several folders may show the same file.
    pub file: (u64, u64),
}

/// The reason why a file shows nothing.
#[derive(Debug)]
pub(super) enum Absent {
    /// It belongs to another user.
    Foreign,
    /// No process has it mapped any more. `true`: the file is gone.
    Stale(#[allow(dead_code, reason = "the tests ask")] bool),
    /// It belongs to another pid namespace, whose processes are hidden.
    Elsewhere,
    /// It cannot be used: the reason, in one line.
    Bad(String),
    /// The same for a file that another user has made.
    BadForeign(String),
}

/// The files of a folder, by process.
pub(super) fn entries(folder: &Path, ours: bool) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let name = Name::parse(entry.ok()?.file_name().to_str()?)?;
            Some(Entry { path: folder.join(name.to_string()), name, ours })
        })
        .collect();
    entries.sort_by_key(|entry| entry.name);
    Ok(entries)
}

impl Entry {
    /// The file of this path, which is never removed.
    pub fn at(path: &Path) -> Option<Entry> {
        let name = Name::parse(path.file_name()?.to_str()?)?;
        Some(Entry { path: path.to_path_buf(), name, ours: false })
    }

    /// Reads the file, if it belongs to living processes and we may read it.
    pub fn read(&self, processes: &Processes) -> Result<Found, Absent> {
        // Anybody can put anything into the folder, and opening a device may have an effect.
        let Ok(about) = fs::symlink_metadata(&self.path) else { return Err(Absent::Stale(true)) };
        let owner = about.uid();
        let user = user();
        if owner != user && user != 0 {
            return Err(Absent::Foreign);
        }
        let result = if about.is_file() || about.is_symlink() {
            self.read_ours(processes)
        } else {
            Err(self.bad(IRREGULAR))
        };
        match result {
            // We cannot remove it.
            Err(Absent::Bad(_)) if !self.ours => Err(Absent::Elsewhere),
            Err(Absent::Bad(why)) if owner != user => Err(Absent::BadForeign(why)),
            result => result,
        }
    }

    fn bad(&self, why: impl std::fmt::Display) -> Absent {
        Absent::Bad(format!("{} {why}", self.path.display()))
    }

    fn read_ours(&self, processes: &Processes) -> Result<Found, Absent> {
        let bad = |why: &dyn std::fmt::Display| self.bad(why);
        let file = match open(&self.path, false) {
            Ok(file) => file,
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound => Absent::Stale(true),
                    io::ErrorKind::PermissionDenied => Absent::Foreign,
                    _ if error.raw_os_error() == Some(libc::ELOOP) => {
                        bad(&"is a link, not a statistics file; remove it")
                    }
                    _ => bad(&format!("cannot be read: {}", plain(&error))),
                });
            }
        };
        let about = file.metadata().map_err(|error| bad(&error))?;
        if !about.is_file() {
            return Err(bad(&IRREGULAR));
        }
        // A file that is never removed needs no search for processes that have it mapped.
        let state = if self.ours { in_use(self.name, &file, &about, processes) } else { Use::Live };
        match state {
            Use::Live => {}
            Use::Stale => return Err(Absent::Stale(fs::remove_file(&self.path).is_ok())),
            Use::Young => return Err(Absent::Stale(false)),
            Use::Elsewhere => return Err(Absent::Elsewhere),
        }
        let contents = Contents::read(&file, about.len()).map_err(|error| bad(&error))?;
        let (check, whole) = (contents.check(), size_of::<Family>() as u64);
        // A file of another layout may have another size.
        if about.len() != whole && check != Err(OTHER_LAYOUT) {
            return Err(bad(&format!(
                "is damaged: it has {} bytes instead of {whole}; remove it",
                about.len()
            )));
        }
        check.map_err(|why| bad(&why))?;
        let maker = (get(&contents.header().pid), get(&contents.header().start));
        if maker != (self.name.pid.into(), self.name.start) {
            return Err(bad(&"is damaged: it is of another process than its name says; remove it"));
        }
        Ok(self.living(&contents, &about, processes))
    }

    /// The living processes of the table. Dead ones are marked for processes that look for a place.
    fn living(&self, contents: &Contents, about: &fs::Metadata, all: &Processes) -> Found {
        let namespace = get(&contents.header().namespace);
        let (numbers, here) = (all.numbers(namespace), all.is_here(namespace));
        let mut seen = HashSet::new();
        let mut dead = Vec::new();
        let mut processes = Vec::new();
        for (place, process) in contents.0.processes.iter().enumerate() {
            let own = pid_of(get(&process.owner));
            if own == 0 || !seen.insert(own) {
                continue;
            }
            let marked = get(&process.dead) == u64::from(own);
            let member = |pid: u32| {
                let start = start_of(pid)?;
                self.is_member(pid, start, get(&process.since), about).then_some((pid, start))
            };
            let found = numbers.of(own).and_then(member).or_else(|| {
                let look = here && !marked;
                look.then(|| all.elsewhere(own, self.name, about)).flatten().and_then(member)
            });
            let Some((pid, start)) = found else {
                if here && !marked && (start_of(own).is_some() || !exists(own)) {
                    dead.push((place, own));
                }
                continue;
            };
            let Some(mut figures) = contents.process(place) else { continue };
            (figures.pid, figures.start, figures.uid) = (pid, start, about.uid());
            figures.source.path = self.path.clone();
            figures.age(now());
            processes.push(figures);
        }
        // Only our own file is marked, and only if it is still the same: in a container's folder somebody may have put
        // another file there, to make us write into it.
        let same = |file: &File| {
            file.metadata().is_ok_and(|now| (now.dev(), now.ino()) == (about.dev(), about.ino()))
        };
        let marks = self.ours && !dead.is_empty();
        if let Some(file) = marks.then(|| open(&self.path, true).ok()).flatten().filter(same) {
            for (place, pid) in dead {
                let at = process_at(place) + offset_of!(Process, dead);
                let _ = file.write_all_at(&u64::from(pid).to_ne_bytes(), at as u64);
            }
        }
        let uncounted = get(&contents.header().uncounted);
        Found { processes, uncounted, file: (about.dev(), about.ino()) }
    }

    /// Returns whether the process that has this pid now is the one that has published: it has the file mapped or, if
    /// that cannot be seen, began before it published.
    fn is_member(&self, pid: u32, start: u64, since: u64, about: &fs::Metadata) -> bool {
        /// Nanoseconds of a clock tick: every Linux shows 100 in a second.
        const TICK: u64 = 10_000_000;
        is_mapped_by(pid, self.name, about).unwrap_or_else(|| start.saturating_mul(TICK) <= since)
    }
}

/// Asks a process to flush, through the one word of its figures that it obeys. Checks first that the file is still the
/// same.
pub fn ask(figures: &Figures, request: u64) -> Result<(), String> {
    let Source { path, place, pid } = &figures.source;
    let failed = |why: &dyn std::fmt::Display| {
        format!("{} {} cannot be asked: {why}", figures.program, figures.pid)
    };
    let ended = || failed(&"it has ended");
    let name = Entry::at(path).ok_or_else(ended)?.name;
    let file = open(path, true).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ended(),
        _ => failed(&format!("{}: {}", path.display(), plain(&error))),
    })?;
    let about = file.metadata().map_err(|error| failed(&plain(&error)))?;
    let damaged =
        || failed(&format!("{} is not a statistics file of this version", path.display()));
    if !about.is_file() || about.len() != size_of::<Family>() as u64 {
        return Err(damaged());
    }
    let contents = Contents::read(&file, about.len()).map_err(|_| damaged())?;
    contents.check().map_err(|_| damaged())?;
    let lives = start_of(figures.pid) == Some(figures.start)
        && is_mapped_by(figures.pid, name, &about) != Some(false);
    if !lives || !is_ready(get(&contents.0.processes[*place].owner), *pid) {
        return Err(ended());
    }
    // An earlier request for all sessions remains until every context has obeyed it.
    let outstanding = contents.process(*place).is_some_and(|it| it.has_yet_to_flush_all());
    let request = if outstanding { request | REQUEST_ALL } else { request };
    let at = process_at(*place) + offset_of!(Process, request);
    file.write_all_at(&request.to_ne_bytes(), at as u64).map_err(|error| failed(&plain(&error)))
}
