//! Reading what processes publish (`sslsweep_figures`). Nothing in a file is taken on trust: it is read into memory,
//! since a mapped file could be cut short under our hands, and whatever it holds can only make its own numbers wrong.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub use sslsweep_figures::files::start_of;
use sslsweep_figures::files::{
    FOLDER, Name, Use, exists, in_use, is_mapped_by, namespace, read_words,
};
use sslsweep_figures::{
    BLOCKS, Block as Layout, CURVE, FIGURES, Family, HORIZONS, Header, LAYOUT, MAGIC, NAME_WORDS,
    PROCESSES, Process, STEPS, STRIPES, Stripe, Word, curve_part, is_ready, pid_of, words,
};

use crate::selection::{Target, takes};
use crate::text::printable;

const OTHER_LAYOUT: &str = "is of another version of sslsweep";

/// What a process says of itself and of its contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The process.
    pub pid: u32,
    /// When it began, in clock ticks since the machine did.
    pub start: u64,
    /// Whose file it is.
    pub uid: u32,
    /// The program's name, printable.
    pub program: String,
    /// Contexts that have begun.
    pub begun: u64,
    /// Contexts that have ended.
    pub ended: u64,
    /// Contexts that were left to libssl because they lie in memory that processes share.
    pub left_shared: u64,
    /// The version of the library ([`sslsweep_figures::version`]); 0 if it does not say.
    pub version: u64,
    /// An operator's last request to flush; 0 if there was none.
    pub request: u64,
    /// Each context that lives and has a block of its own, by number.
    pub contexts: Vec<Block>,
    /// The sums of those that have ended.
    pub past: Block,
    /// The sums of those that found no block.
    pub others: Block,
}

/// Whose figures a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// All contexts', those that have ended included.
    All,
    /// One context's, by its number.
    Context(u64),
    /// Those of contexts without a block.
    Others,
    /// Those of contexts that have ended.
    Ended,
}

impl std::fmt::Display for Place {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::All => to.write_str("all"),
            Place::Context(number) => write!(to, "{number}"),
            Place::Others => to.write_str("other"),
            Place::Ended => to.write_str("ended"),
        }
    }
}

/// The most sessions that are stored somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// There is none, or it is not published.
    Unknown,
    /// Any number.
    Any,
    /// So many.
    Most(u64),
}

impl std::fmt::Display for Limit {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Unknown => to.write_str("-"),
            Limit::Any => to.write_str("any"),
            Limit::Most(most) => write!(to, "{most}"),
        }
    }
}

/// The figures of one context, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block([u64; FIGURES]);

impl Block {
    /// Nothing at all.
    pub const EMPTY: Block = Block([0; FIGURES]);

    /// One figure.
    pub fn get(&self, word: Word) -> u64 {
        self.0[word as usize]
    }

    /// How many sessions expire when (`HORIZONS`).
    pub fn curve(&self) -> &[u64] {
        &self.0[Word::Curve as usize..][..CURVE]
    }

    /// A histogram: the flushes', or the batches'.
    pub fn times(&self, first: Word) -> &[u64] {
        &self.0[first as usize..][..STEPS]
    }

    /// Moves the curve on from the second in which it was made: that of a context in which nothing happens is old.
    /// Within a part sessions are taken to expire as late as they can, so that what is due surely is.
    fn age(&mut self, now: u64) {
        let made = self.get(Word::CurveMade);
        let age = i64::try_from(now.saturating_sub(made)).unwrap_or(i64::MAX);
        if made == 0 || age == 0 {
            return;
        }
        let mut moved = [0_u64; CURVE];
        for (part, &sessions) in self.curve().iter().enumerate() {
            let to = match HORIZONS.get(part) {
                Some(end) => curve_part((end - 1).saturating_sub(age)),
                None => part,
            };
            moved[to] = moved[to].saturating_add(sessions);
        }
        self.0[Word::Curve as usize..][..CURVE].copy_from_slice(&moved);
    }

    /// Nothing has happened here yet.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// These figures and the other's: sums, but for what has no sum.
    pub fn with(&self, other: &Block) -> Block {
        let mut sum = Block::EMPTY;
        for (place, word) in sum.0.iter_mut().enumerate() {
            *word = self.0[place].saturating_add(other.0[place]);
        }
        let latest =
            if other.get(Word::LastFlush) > self.get(Word::LastFlush) { other } else { self };
        for word in [Word::LastFlush, Word::LastRemoved, Word::LastTook] {
            sum.0[word as usize] = latest.get(word);
        }
        for word in [Word::LongestBatch, Word::CurveMade] {
            sum.0[word as usize] = self.get(word).max(other.get(word));
        }
        for word in [Word::Number, Word::Mode, Word::Answered] {
            sum.0[word as usize] = 0;
        }
        sum
    }

    /// The part of the lookups in this cache that found a session, from 0 to 1; none without lookups.
    pub fn hit_rate(&self) -> Option<f64> {
        // Those that went to the program's get callback alone are counted among the misses.
        let missed = self.get(Word::Misses).saturating_sub(self.get(Word::ExternalMisses));
        let (hits, missed) = (self.get(Word::Hits) as f64, missed as f64);
        (hits + missed > 0.0).then(|| hits / (hits + missed))
    }
}

impl Figures {
    /// The figures of all contexts together, those that have ended included. ([`Figures::limit`] knows the limit.)
    pub fn total(&self) -> Block {
        let blocks = [&self.others, &self.past].into_iter().chain(&self.contexts);
        blocks.fold(Block::EMPTY, |sum, block| sum.with(block))
    }

    /// The most sessions that are stored there: those of all contexts together if each has published its own.
    pub fn limit(&self, place: Place) -> Limit {
        let of = |block: &Block| match block.get(Word::Limit) {
            0 => Limit::Any,
            most => Limit::Most(most),
        };
        match place {
            Place::Others | Place::Ended => Limit::Unknown,
            Place::Context(number) => self
                .contexts
                .iter()
                .find(|block| block.get(Word::Number) == number)
                .map_or(Limit::Unknown, of),
            Place::All if self.contexts.is_empty() || !self.others.is_empty() => Limit::Unknown,
            Place::All => {
                self.contexts.iter().map(of).fold(Limit::Most(0), |sum, limit| match (sum, limit) {
                    (Limit::Most(one), Limit::Most(other)) => {
                        Limit::Most(one.saturating_add(other))
                    }
                    _ => Limit::Any,
                })
            }
        }
    }

    /// Moves the curves on to this second.
    fn age(&mut self, now: u64) {
        self.contexts.iter_mut().for_each(|block| block.age(now));
    }

    /// What a table shows of the process: the sum where there is more than one thing to add, and each of these.
    pub fn places(&self) -> Vec<(Place, Block)> {
        let mut places: Vec<_> = self
            .contexts
            .iter()
            .map(|block| (Place::Context(block.get(Word::Number)), *block))
            .collect();
        places.extend(
            [(Place::Others, self.others), (Place::Ended, self.past)]
                .into_iter()
                .filter(|(_, it)| !it.is_empty()),
        );
        if places.len() != 1 {
            places.insert(0, (Place::All, self.total()));
        }
        places
    }
}

// ---- A file ----

/// Where in a family's words something is.
macro_rules! place {
    ($($field:ident in $type:ty),*) => { ($(offset_of!($type, $field) +)* 0) / 8 };
}

/// The place of a process of the table.
fn process_at(process: usize) -> usize {
    place!(processes in Family) + process * words::<Process>()
}

/// All the words of a file, of the size that a family's has.
struct Words(Vec<u64>);

impl Words {
    fn header(&self, name: usize) -> u64 {
        self.0[name]
    }

    /// Why this cannot be read.
    fn check(&self) -> Result<(), &'static str> {
        if self.header(place!(header in Family, magic in Header)) != MAGIC {
            return Err("is no statistics file");
        }
        if self.header(place!(header in Family, layout in Header)) != LAYOUT {
            return Err(OTHER_LAYOUT);
        }
        if self.header(place!(header in Family, bytes in Header)) != size_of::<Family>() as u64 {
            return Err("is damaged");
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
    fn process(&self, process: usize) -> Option<Figures> {
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
        })
    }
}

/// A file by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    name: Name,
}

/// The contents of a file.
#[derive(Debug)]
struct Found {
    /// Each process that lives.
    processes: Vec<Figures>,
    /// How often a process found no room.
    uncounted: u64,
}

/// Why there is nothing to show of a file.
#[derive(Debug)]
enum Absent {
    /// It is another user's.
    Foreign,
    /// Nobody has it mapped any more. `true`: the file is gone.
    Stale(#[allow(dead_code, reason = "the tests ask")] bool),
    /// It is of another pid namespace, where its pids mean other processes.
    Elsewhere,
    /// It cannot be used: one line that says why.
    Bad(String),
    /// The same, of what another user has made.
    BadForeign(String),
}

/// The files that are there, by process.
fn entries() -> io::Result<Vec<Entry>> {
    entries_in(Path::new(FOLDER))
}

fn entries_in(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let name = Name::parse(entry.ok()?.file_name().to_str()?)?;
            Some(Entry { path: folder.join(name.to_string()), name })
        })
        .collect();
    entries.sort_by_key(|entry| entry.name);
    Ok(entries)
}

impl Entry {
    /// Reads the file, if it is that of living processes and ours to read.
    fn read(&self) -> Result<Found, Absent> {
        // Anybody can put anything into the folder.
        let owner = match fs::symlink_metadata(&self.path) {
            Ok(about) => about.uid(),
            Err(_) => return Err(Absent::Stale(true)),
        };
        let user = user();
        if owner != user && user != 0 {
            return Err(Absent::Foreign);
        }
        match self.read_ours() {
            Err(Absent::Bad(why)) if owner != user => Err(Absent::BadForeign(why)),
            result => result,
        }
    }

    fn open(&self, write: bool) -> io::Result<File> {
        // Without O_NONBLOCK a pipe of that name would hold us up.
        OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(&self.path)
    }

    fn read_ours(&self) -> Result<Found, Absent> {
        let bad =
            |why: &dyn std::fmt::Display| Absent::Bad(format!("{} {why}", self.path.display()));
        let file = match self.open(false) {
            Ok(file) => file,
            Err(error) => {
                return Err(match error.kind() {
                    io::ErrorKind::NotFound => Absent::Stale(true),
                    io::ErrorKind::PermissionDenied => Absent::Foreign,
                    _ if error.raw_os_error() == Some(libc::ELOOP) => {
                        bad(&"is a link, not a statistics file")
                    }
                    _ => bad(&format!("cannot be read: {error}")),
                });
            }
        };
        let about = file.metadata().map_err(|error| bad(&error))?;
        if !about.is_file() {
            return Err(bad(&"is no regular file"));
        }
        match in_use(self.name, &file, &about) {
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
                "is damaged: it has {} bytes instead of {whole}",
                about.len()
            )));
        }
        let words = Words(read_words(&file, 0, words::<Family>()).map_err(|error| bad(&error))?);
        words.check().map_err(|why| bad(&why))?;
        if words.maker() != (self.name.pid.into(), self.name.start) {
            return Err(bad(&"is damaged: it is of another process than its name says"));
        }
        Ok(self.living(&words, &about))
    }

    /// The processes of the table that live; of others, that they do not is noted for those that look for a place.
    fn living(&self, words: &Words, about: &fs::Metadata) -> Found {
        let here = words.header(place!(header in Family, namespace in Header)) == namespace();
        let mut seen = HashSet::new();
        let mut dead = Vec::new();
        let mut processes = Vec::new();
        for process in 0..PROCESSES {
            let pid = pid_of(words.owner(process));
            if pid == 0 || !here || !seen.insert(pid) {
                continue;
            }
            let since = words.0[process_at(process) + place!(since in Process)];
            let Some(start) = start_of(pid) else {
                if !exists(pid) {
                    dead.push((process, pid));
                }
                continue;
            };
            if !self.is_member(pid, start, since, about) {
                dead.push((process, pid));
            } else if let Some(mut figures) = words.process(process) {
                figures.start = start;
                figures.uid = about.uid();
                figures.age(now());
                processes.push(figures);
            }
        }
        if let Some(file) = (!dead.is_empty()).then(|| self.open(true).ok()).flatten() {
            for (process, pid) in dead {
                let at = (process_at(process) + place!(dead in Process)) as u64 * 8;
                let _ = file.write_all_at(&u64::from(pid).to_ne_bytes(), at);
            }
        }
        let uncounted = words.header(place!(header in Family, uncounted in Header));
        Found { processes, uncounted }
    }

    /// Whether the process that has this pid now is the one that has written there: it has the file mapped, or, where that
    /// cannot be seen, had begun by then.
    fn is_member(&self, pid: u32, start: u64, since: u64, about: &fs::Metadata) -> bool {
        /// Nanoseconds of a clock tick, of which every Linux shows 100 in a second.
        const TICK: u64 = 10_000_000;
        is_mapped_by(pid, self.name, about).unwrap_or_else(|| start.saturating_mul(TICK) <= since)
    }
}

/// Whose files are ours to read: this user's, and root's are all.
pub fn user() -> u32 {
    // SAFETY: a plain query.
    unsafe { libc::geteuid() }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// What there is of all processes, or of one.
#[derive(Debug, Default)]
pub struct Reading {
    /// What can be shown.
    pub processes: Vec<Figures>,
    /// A line for each file that should be readable and is not.
    pub complaints: Vec<String>,
    /// A line for each family some of whose processes are not counted.
    pub notes: Vec<String>,
    /// Files of other users that are not ours to read, or, for root, cannot be used.
    pub foreign: usize,
}

/// Reads what there is of these processes, or of all.
pub fn read(targets: &[Target]) -> Reading {
    let mut reading = Reading::default();
    let entries = match entries() {
        Ok(entries) => entries,
        Err(error) => {
            reading.complaints.push(format!("{FOLDER} cannot be read: {error}"));
            return reading;
        }
    };
    for entry in entries {
        let named = targets.contains(&Target::Pid(entry.name.pid));
        let asked_for = targets.is_empty() || named;
        match entry.read() {
            Ok(found) => {
                let before = reading.processes.len();
                let meant = found.processes.into_iter().filter(|it| takes(targets, it));
                reading.processes.extend(meant);
                if found.uncounted > 0 && (asked_for || reading.processes.len() > before) {
                    reading.notes.push(format!(
                        "{}: {} processes found no room in it, and are not counted",
                        entry.path.display(),
                        found.uncounted
                    ));
                }
            }
            Err(Absent::Foreign) => reading.foreign += 1,
            Err(Absent::Stale(_) | Absent::Elsewhere) => {}
            // Whoever asks for one process has no use for what is wrong with another's file.
            Err(Absent::Bad(_)) if !asked_for => {}
            Err(Absent::Bad(why)) => reading.complaints.push(why),
            // Whoever asks for this process should know; elsewhere nobody must be able to spoil what root sees.
            Err(Absent::BadForeign(why)) if named => reading.complaints.push(why),
            Err(Absent::BadForeign(_)) => reading.foreign += 1,
        }
    }
    reading.processes.sort_by_key(|figures| (figures.pid, figures.start));
    reading
}

/// Why nothing can be shown of the first of these that means no process; `None` if each means one.
pub fn missing(targets: &[Target], reading: &Reading) -> Option<String> {
    let missing = |target: &&Target| !reading.processes.iter().any(|it| target.means(it));
    Some(match targets.iter().find(missing)? {
        Target::Pid(pid) => why_nothing(*pid, reading),
        Target::Name(name) => format!(
            "no process named {} publishes statistics; start it with: sslsweep run --stats -- PROGRAM",
            printable(name.as_bytes())
        ),
    })
}

/// Why nothing can be shown of this process.
fn why_nothing(pid: u32, reading: &Reading) -> String {
    if let Some(complaint) = reading.complaints.first() {
        return complaint.clone();
    }
    if start_of(pid).is_none() {
        return format!("there is no process {pid}");
    }
    let owner = fs::metadata(format!("/proc/{pid}")).map_or_else(|_| user(), |about| about.uid());
    if reading.foreign > 0 && owner != user() {
        return format!(
            "no permission: process {pid} is another user's; ask as that user or as root"
        );
    }
    format!(
        "process {pid} publishes no statistics: it was started without sslsweep run --stats, or has not used a \
         cache since it was forked (sslsweep doctor {pid} says more)"
    )
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use sslsweep_figures::READY;

    /// The blocks of [`sample`] that are no context's.
    pub const ENDED: usize = 0;
    pub const OTHERS: usize = 1;

    /// The words of a file of one process, with the words of its blocks; those of contexts are from 2 on.
    pub fn sample(pid: u32, start: u64, blocks: &[(usize, &[(usize, u64)])]) -> Vec<u64> {
        let mut all = vec![0; words::<Family>()];
        let owner = u64::from(pid) | READY;
        for (word, value) in [
            (place!(header in Family, magic in Header), MAGIC),
            (place!(header in Family, layout in Header), LAYOUT),
            (place!(header in Family, bytes in Header), size_of::<Family>() as u64),
            (place!(header in Family, namespace in Header), namespace()),
            (place!(header in Family, pid in Header), pid.into()),
            (place!(header in Family, start in Header), start),
            (place!(header in Family, name in Header), u64::from_ne_bytes(*b"nginx\0\0\0")),
            (process_at(0) + place!(owner in Process), owner),
            (
                process_at(0) + place!(begun in Process),
                blocks.iter().filter(|(block, _)| *block > OTHERS).count() as u64,
            ),
        ] {
            all[word] = value;
        }
        for (block, figures) in blocks {
            let at = match *block {
                ENDED => process_at(0) + place!(past in Process),
                OTHERS => process_at(0) + place!(others in Process),
                context => {
                    all[place!(owners in Family) + context - 2] = owner;
                    place!(blocks in Family) + (context - 2) * words::<Layout>()
                }
            };
            for &(word, value) in *figures {
                all[at + word] = value;
            }
        }
        all
    }

    /// What `sample` says, read.
    pub fn figures(blocks: &[(usize, &[(usize, u64)])]) -> Figures {
        Words(sample(4711, 99, blocks)).process(0).expect("it is whole")
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("sslsweep-figures-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("the scratch folder");
        folder
    }

    fn entry(folder: &Path, pid: u32, start: u64) -> Entry {
        let name = Name { pid, start, number: 0 };
        Entry { path: folder.join(name.to_string()), name }
    }

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// A mapping of a file, as the library keeps one.
    struct Mapped(*mut libc::c_void);

    impl Mapped {
        fn new(path: &Path) -> Mapped {
            use std::os::fd::AsRawFd;
            let file = File::open(path).expect("just written");
            // SAFETY: a mapping anywhere, of a file that is open.
            let at = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    4096,
                    libc::PROT_READ,
                    libc::MAP_SHARED,
                    file.as_raw_fd(),
                    0,
                )
            };
            assert_ne!(at, libc::MAP_FAILED);
            Mapped(at)
        }
    }

    impl Drop for Mapped {
        fn drop(&mut self) {
            // SAFETY: it is the mapping made above.
            unsafe { libc::munmap(self.0, 4096) };
        }
    }

    fn me() -> (u32, u64) {
        let pid = std::process::id();
        (pid, start_of(pid).expect("the process runs"))
    }

    /// Reads these bytes as the file of this very process.
    fn read_mine(name: &str, content: &[u8]) -> Result<Found, Absent> {
        let (pid, start) = me();
        let folder = folder(name);
        let entry = entry(&folder, pid, start);
        fs::write(&entry.path, content).expect("the file is written");
        let _mapped = Mapped::new(&entry.path);
        let result = entry.read();
        fs::remove_dir_all(folder).expect("the scratch folder");
        result
    }

    fn complaint(result: Result<Found, Absent>) -> String {
        match result {
            Err(Absent::Bad(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lookups_are_counted_in_stripes() {
        let stripe = |stripe: usize| FIGURES + stripe * words::<Stripe>();
        let read = figures(&[
            (
                2,
                &[
                    (0, 1),
                    (Word::Hits as usize, 5),
                    (stripe(0), 10),
                    (stripe(7), 20),
                    (stripe(7) + 1, 3),
                ],
            ),
            (3, &[(0, 2), (stripe(1), u64::MAX), (stripe(2), 1), (stripe(2) + 2, 9)]),
        ]);
        let lookups = |at: usize| {
            let block = &read.contexts[at];
            (block.get(Word::Hits), block.get(Word::Misses))
        };
        assert_eq!(lookups(0), (35, 3));
        assert_eq!(lookups(1), (u64::MAX, 0), "a sum that does not fit");
    }

    #[test]
    fn the_curve_moves_on() {
        let curve = Word::Curve as usize;
        let made = Word::CurveMade as usize;
        // Due; within 10, 30, and 3600 seconds; in more than seven days; never.
        let words = [(0, 1), (curve, 1), (curve + 1, 2), (curve + 2, 4), (curve + 8, 8)];
        let words = [&words[..], &[(curve + 14, 16), (curve + 15, 32), (made, 1000)]].concat();
        let at = |now: u64| {
            let mut figures = figures(&[(2, &words)]);
            figures.age(now);
            let parts = figures.contexts[0].curve().to_vec();
            assert_eq!(parts.iter().sum::<u64>(), 63, "none is lost");
            parts.into_iter().enumerate().filter(|&(_, sessions)| sessions > 0).collect::<Vec<_>>()
        };
        let unmoved = [(0, 1), (1, 2), (2, 4), (8, 8), (14, 16), (15, 32)];
        assert_eq!(at(1000), unmoved);
        assert_eq!(at(0), unmoved, "a clock that was set back");
        assert_eq!(at(1009), [(0, 1), (1, 2), (2, 4), (8, 8), (14, 16), (15, 32)], "may be due");
        assert_eq!(at(1010), [(0, 3), (2, 4), (8, 8), (14, 16), (15, 32)], "surely is due");
        assert_eq!(at(1020), [(0, 3), (1, 4), (8, 8), (14, 16), (15, 32)]);
        assert_eq!(at(u64::MAX), [(0, 15), (14, 16), (15, 32)]);
    }

    #[test]
    fn limits() {
        let limit = Word::Limit as usize;
        let two = figures(&[(2, &[(0, 1), (limit, 5)]), (3, &[(0, 2), (limit, u64::MAX)])]);
        assert_eq!(two.limit(Place::Context(1)), Limit::Most(5));
        assert_eq!(two.limit(Place::All), Limit::Most(u64::MAX), "a sum that does not fit");
        assert_eq!(two.limit(Place::Context(3)), Limit::Unknown);
        assert_eq!(two.limit(Place::Ended), Limit::Unknown);
        let any = figures(&[(2, &[(0, 1), (limit, 5)]), (3, &[(0, 2)])]);
        assert_eq!(any.limit(Place::All), Limit::Any);
        let more = figures(&[(2, &[(0, 1), (limit, 5)]), (OTHERS, &[(Word::Stores as usize, 1)])]);
        assert_eq!(more.limit(Place::All), Limit::Unknown);
        assert_eq!(more.limit(Place::Others), Limit::Unknown);
        assert_eq!(figures(&[]).limit(Place::All), Limit::Unknown);
    }

    #[test]
    fn a_living_process() {
        let (pid, start) = me();
        let stores = Word::Stores as usize;
        let words = sample(
            pid,
            start,
            &[(2, &[(0, 7), (stores, 3)]), (5, &[(0, 2), (stores, 4)]), (0, &[(stores, 9)])],
        );
        let found = read_mine("living", &bytes(&words)).expect("it is whole");
        let [figures] = &found.processes[..] else { panic!("{found:?}") };
        assert_eq!((figures.pid, figures.program.as_str()), (pid, "nginx"));
        let numbers: Vec<_> =
            figures.contexts.iter().map(|block| block.get(Word::Number)).collect();
        assert_eq!(numbers, [2, 7]);
        assert_eq!(figures.past.get(Word::Stores), 9);
        assert_eq!(figures.total().get(Word::Stores), 16);
    }

    #[test]
    fn damaged_files() {
        let (pid, start) = me();
        let whole = sample(pid, start, &[]);
        let changed = |word: usize, value| {
            let mut words = whole.clone();
            words[word] = value;
            bytes(&words)
        };
        let cut = bytes(&whole[..whole.len() - 1]);
        for (content, why) in [
            (cut, "damaged"),
            (bytes(&[whole.clone(), vec![0]].concat()), "damaged"),
            (vec![1], "damaged"),
            (changed(place!(header in Family, magic in Header), 1), "no statistics file"),
            (changed(place!(header in Family, layout in Header), LAYOUT + 1), "another version"),
            (changed(place!(header in Family, bytes in Header), 1), "damaged"),
            (changed(place!(header in Family, pid in Header), u64::MAX), "another process"),
            (changed(place!(header in Family, pid in Header), 1), "another process"),
            (changed(place!(header in Family, start in Header), 1), "another process"),
        ] {
            let said = complaint(read_mine("damaged", &content));
            assert!(said.contains(why) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn other_things_of_that_name() {
        let folder = folder("other");
        let (pid, start) = me();
        let mine = entry(&folder, pid, start);
        std::os::unix::fs::symlink("/etc/passwd", &mine.path).expect("a link");
        assert!(complaint(mine.read()).contains("link"));
        fs::remove_file(&mine.path).expect("the link");
        fs::create_dir(&mine.path).expect("a folder");
        assert!(complaint(mine.read()).contains("regular"));
        fs::remove_dir(&mine.path).expect("the folder");
        let name = std::ffi::CString::new(mine.path.to_str().expect("plain")).expect("plain");
        // SAFETY: the name is a string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(complaint(mine.read()).contains("regular"), "nor does a pipe hold us up");
        fs::remove_dir_all(folder).expect("the scratch folder");
    }

    #[test]
    fn stale_files_are_removed_and_nothing_else() {
        let folder = folder("stale");
        let (pid, start) = me();
        // Of a process that began at another time, and of this one, which does not map it.
        for (entry, mapped) in [
            (entry(&folder, pid, start + 1), false),
            (entry(&folder, pid, start), false),
            (entry(&folder, pid, start + 1), true),
        ] {
            fs::write(&entry.path, "").expect("the file is written");
            assert!(matches!(entry.read(), Err(Absent::Stale(false))), "it may be in the making");
            fs::write(&entry.path, bytes(&sample(pid, start, &[]))).expect("the file is written");
            let mapping = mapped.then(|| Mapped::new(&entry.path));
            match entry.read() {
                Err(Absent::Stale(true)) => assert!(!mapped),
                Err(Absent::Bad(why)) => {
                    assert!(mapped && why.contains("another process"), "{why}")
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(entry.path.exists(), mapped);
            drop(mapping);
        }
        for name in ["sslsweep.1", "sslsweep.01.1", "other"] {
            fs::write(folder.join(name), "").expect("the file is written");
        }
        assert_eq!(entries_in(&folder).expect("it is there").len(), 1, "the mapped one");
        fs::remove_dir_all(folder).expect("the scratch folder");
    }

    #[test]
    fn totals() {
        let word = |word: Word| word as usize;
        let figures = figures(&[
            (
                2,
                &[
                    (0, 1),
                    (word(Word::Limit), 10),
                    (word(Word::LastFlush), 5),
                    (word(Word::LastRemoved), 1),
                ],
            ),
            (
                3,
                &[
                    (0, 2),
                    (word(Word::Limit), 20),
                    (word(Word::LastFlush), 6),
                    (word(Word::LastRemoved), 2),
                ],
            ),
            (ENDED, &[(word(Word::LongestBatch), 8), (word(Word::Hits), u64::MAX)]),
            (
                OTHERS,
                &[(word(Word::LongestBatch), 7), (word(Word::Hits), 1), (word(Word::Limit), 5)],
            ),
        ]);
        let total = figures.total();
        for (word, value) in [
            (Word::Limit, 35),
            (Word::LastRemoved, 2),
            (Word::LongestBatch, 8),
            (Word::Hits, u64::MAX),
            (Word::Number, 0),
        ] {
            assert_eq!(total.get(word), value, "{word:?}");
        }
    }

    proptest! {
        /// Whatever is in the file, there are figures to show, each context once.
        #[test]
        fn any_words(seed in proptest::collection::vec(any::<u64>(), 64), stride in 1_usize..64, owner: u32) {
            let owner = u64::from(owner.max(1)) | READY;
            let mut all: Vec<u64> = (0..words::<Family>()).map(|at| seed[at * stride % seed.len()]).collect();
            for block in 0..BLOCKS {
                if block % 3 > 0 {
                    all[place!(owners in Family) + block] = owner;
                }
            }
            all[process_at(7) + place!(owner in Process)] = owner;
            let figures = Words(all).process(7).expect("it is complete");
            let mut numbers: Vec<_> = figures.contexts.iter().map(|block| block.get(Word::Number)).collect();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), figures.contexts.len());
            prop_assert!(figures.program.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let _ = figures.total();
        }

        #[test]
        fn any_bytes(content in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!complaint(read_mine("bytes", &content)).contains('\n'));
        }
    }
}
