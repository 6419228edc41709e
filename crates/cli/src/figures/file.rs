//! One file.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sslsweep_figures::files::{Name, Use, in_use, read_words, start_of};
use sslsweep_figures::processes::{Processes, exists, is_mapped_by};
use sslsweep_figures::{
    BLOCKS, Block as Layout, FIGURES, Family, Header, LAYOUT, MAGIC, NAME_WORDS, PROCESSES,
    Process, REQUEST_ALL, STRIPES, Stripe, Word, is_ready, pid_of, words,
};

use super::{Block, Figures, Source, now, user};
use crate::run::plain;
use crate::text::printable;

const IRREGULAR: &str = "is not a regular file; remove it";

const OTHER_LAYOUT: &str =
    "is of another version of sslsweep; restart its program, or use the command of that version";

/// Opens a file that may be anybody's, of any kind.
fn open(path: &Path, write: bool) -> io::Result<File> {
    // Without O_NONBLOCK a pipe of that name would hold us up.
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
}

/// The place of a process of the table.
pub(super) fn process_at(process: usize) -> usize {
    place!(processes in Family) + process * words::<Process>()
}

/// All the words of a file, of the size that a family's has.
pub(super) struct Words(pub Vec<u64>);

impl Words {
    fn header(&self, name: usize) -> u64 {
        self.0[name]
    }

    /// Why this cannot be read.
    fn check(&self) -> Result<(), &'static str> {
        if self.header(place!(header in Family, magic in Header)) != MAGIC {
            return Err("is not a statistics file; remove it");
        }
        if self.header(place!(header in Family, layout in Header)) != LAYOUT {
            return Err(OTHER_LAYOUT);
        }
        if self.header(place!(header in Family, bytes in Header)) != size_of::<Family>() as u64 {
            return Err("is damaged; remove it");
        }
        Ok(())
    }

    /// The process that it was made by, and when that began.
    fn maker(&self) -> (u64, u64) {
        let pid = self.header(place!(header in Family, pid in Header));
        (pid, self.header(place!(header in Family, start in Header)))
    }

    fn program(&self) -> String {
        let name: Vec<u8> = self.0[place!(header in Family, name in Header)..][..NAME_WORDS]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        printable(name.split(|&byte| byte == 0).next().unwrap_or_default())
    }

    fn block(&self, at: usize) -> Block {
        let all = &self.0[at..][..words::<Layout>()];
        let (figures, stripes) = all.split_at(FIGURES);
        let mut block = Block::EMPTY;
        block.0.copy_from_slice(figures);
        for stripe in stripes.chunks_exact(words::<Stripe>()).take(STRIPES) {
            let counted = [place!(hits in Stripe), place!(misses in Stripe)];
            for (word, at) in [Word::Hits, Word::Misses].into_iter().zip(counted) {
                let sum = &mut block.0[word as usize];
                *sum = sum.saturating_add(stripe[at]);
            }
        }
        block
    }

    /// The word that says whose place it is; 0 where it is nobody's.
    fn owner(&self, process: usize) -> u64 {
        self.0[process_at(process) + place!(owner in Process)]
    }

    /// Returns the figures that the process in this place of the table has published, once it is ready.
    pub fn process(&self, process: usize) -> Option<Figures> {
        let owner = self.owner(process);
        if pid_of(owner) == 0 || !is_ready(owner, pid_of(owner)) {
            return None;
        }
        let at = process_at(process);
        // A number that is there twice would be two series of one name.
        let mut seen = HashSet::new();
        let mut contexts: Vec<Block> = (0..BLOCKS)
            .filter(|&block| is_ready(self.0[place!(owners in Family) + block], pid_of(owner)))
            .map(|block| self.block(place!(blocks in Family) + block * words::<Layout>()))
            .filter(|block| block.get(Word::Number) != 0 && seen.insert(block.get(Word::Number)))
            .collect();
        contexts.sort_by_key(|block| block.get(Word::Number));
        Some(Figures {
            pid: pid_of(owner),
            start: 0,
            uid: 0,
            program: self.program(),
            begun: self.0[at + place!(begun in Process)],
            ended: self.0[at + place!(ended in Process)],
            left_shared: self.0[at + place!(left_shared in Process)],
            version: self.header(place!(header in Family, version in Header)),
            request: self.0[at + place!(request in Process)],
            contexts,
            past: self.block(at + place!(past in Process)),
            others: self.block(at + place!(others in Process)),
            source: Source { path: PathBuf::new(), place: process, pid: pid_of(owner) },
        })
    }
}

/// A file by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub path: PathBuf,
    pub name: Name,
    /// It is in our own folder, and not in a container's: what is stale may be removed.
    pub ours: bool,
}

/// The contents of a file.
#[derive(Debug)]
pub(super) struct Found {
    /// Each process that lives.
    pub processes: Vec<Figures>,
    /// How often a process found no room.
    pub uncounted: u64,
    /// The device and inode of the file, which may be seen in several folders.
    pub file: (u64, u64),
}

/// Why there is nothing to show of a file.
#[derive(Debug)]
pub(super) enum Absent {
    /// It is another user's.
    Foreign,
    /// Nobody has it mapped any more. `true`: the file is gone.
    Stale(#[allow(dead_code, reason = "the tests ask")] bool),
    /// It is of another pid namespace, whose processes are not to be seen.
    Elsewhere,
    /// It cannot be used: one line that says why.
    Bad(String),
    /// The same, of what another user has made.
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
    /// The file of this path, which stays where it is.
    pub fn at(path: &Path) -> Option<Entry> {
        let name = Name::parse(path.file_name()?.to_str()?)?;
        Some(Entry { path: path.to_path_buf(), name, ours: false })
    }

    /// Reads the file, if it is that of living processes and ours to read.
    pub fn read(&self, processes: &Processes) -> Result<Found, Absent> {
        // Anybody can put anything into the folder, and opening a device may do something.
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
            // Nothing can be done about it from here.
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
        // Of one that stays where it is, those that live are enough to know.
        let state = if self.ours { in_use(self.name, &file, &about, processes) } else { Use::Live };
        match state {
            Use::Live => {}
            Use::Stale => return Err(Absent::Stale(fs::remove_file(&self.path).is_ok())),
            Use::Young => return Err(Absent::Stale(false)),
            Use::Elsewhere => return Err(Absent::Elsewhere),
        }
        let head = read_words(&file, 0, place!(layout in Header) + 1);
        if head.is_ok_and(|head| {
            head[place!(magic in Header)] == MAGIC && head[place!(layout in Header)] != LAYOUT
        }) {
            return Err(bad(&OTHER_LAYOUT));
        }
        let whole = size_of::<Family>() as u64;
        if about.len() != whole {
            return Err(bad(&format!(
                "is damaged: it has {} bytes instead of {whole}; remove it",
                about.len()
            )));
        }
        let words = Words(read_words(&file, 0, words::<Family>()).map_err(|error| bad(&error))?);
        words.check().map_err(|why| bad(&why))?;
        if words.maker() != (self.name.pid.into(), self.name.start) {
            return Err(bad(&"is damaged: it is of another process than its name says; remove it"));
        }
        Ok(self.living(&words, &about, processes))
    }

    /// The processes of the table that live; of others, that they do not is noted for those that look for a place.
    fn living(&self, words: &Words, about: &fs::Metadata, all: &Processes) -> Found {
        let namespace = words.header(place!(header in Family, namespace in Header));
        let (numbers, here) = (all.numbers(namespace), all.is_here(namespace));
        let mut seen = HashSet::new();
        let mut dead = Vec::new();
        let mut processes = Vec::new();
        for place in 0..PROCESSES {
            let own = pid_of(words.owner(place));
            if own == 0 || !seen.insert(own) {
                continue;
            }
            let marked = words.0[process_at(place) + place!(dead in Process)] == u64::from(own);
            let since = words.0[process_at(place) + place!(since in Process)];
            let member = |pid: u32| {
                let start = start_of(pid)?;
                self.is_member(pid, start, since, about).then_some((pid, start))
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
            let Some(mut figures) = words.process(place) else { continue };
            (figures.pid, figures.start, figures.uid) = (pid, start, about.uid());
            figures.source.path = self.path.clone();
            figures.age(now());
            processes.push(figures);
        }
        // Of ours alone, and into the very file that was read: in a folder of a container's, another file may be in its
        // place by now, put there for somebody with more rights to write to.
        let same = |file: &File| {
            file.metadata().is_ok_and(|now| (now.dev(), now.ino()) == (about.dev(), about.ino()))
        };
        let marks = self.ours && !dead.is_empty();
        if let Some(file) = marks.then(|| open(&self.path, true).ok()).flatten().filter(same) {
            for (place, pid) in dead {
                let at = (process_at(place) + place!(dead in Process)) as u64 * 8;
                let _ = file.write_all_at(&u64::from(pid).to_ne_bytes(), at);
            }
        }
        let uncounted = words.header(place!(header in Family, uncounted in Header));
        Found { processes, uncounted, file: (about.dev(), about.ino()) }
    }

    /// Returns whether the process that has this pid now is the one that has written there: it has the file mapped, or, where that
    /// cannot be seen, had begun by then.
    fn is_member(&self, pid: u32, start: u64, since: u64, about: &fs::Metadata) -> bool {
        /// Nanoseconds of a clock tick, of which every Linux shows 100 in a second.
        const TICK: u64 = 10_000_000;
        is_mapped_by(pid, self.name, about).unwrap_or_else(|| start.saturating_mul(TICK) <= since)
    }
}

/// Asks a process to flush, by the one word of its figures that it obeys. Looks once more before that whether the file is what
/// it was.
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
    let words = Words(read_words(&file, 0, words::<Family>()).map_err(|_| damaged())?);
    words.check().map_err(|_| damaged())?;
    let lives = start_of(figures.pid) == Some(figures.start)
        && is_mapped_by(figures.pid, name, &about) != Some(false);
    if !lives || !is_ready(words.owner(*place), *pid) {
        return Err(ended());
    }
    let at = process_at(*place) + place!(request in Process);
    // An earlier request that some context has yet to obey is not taken back.
    let outstanding = words.process(*place).is_some_and(|it| it.has_yet_to_flush_all());
    let request = if outstanding { request | REQUEST_ALL } else { request };
    file.write_all_at(&request.to_ne_bytes(), at as u64 * 8).map_err(|error| failed(&plain(&error)))
}
