//! Reading what processes publish (`layout`). Nothing in a file is taken on trust: it is read into memory, since
//! a mapped file could be cut short under our hands, and whatever it holds can only make its own numbers wrong.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::layout::{
    BLOCK_WORDS, BLOCKS, CURVE, ENDED, FIGURES, FOLDER, HEADER_WORDS, HORIZONS, Header, LAYOUT,
    MAGIC, NAME_WORDS, OTHERS, PREFIX, STEPS, STRIPE_WORDS, WORDS, Word, curve_part,
};
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
        sum.0[Word::Number as usize] = 0;
        sum
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

    fn parse(words: &[u64]) -> Result<Figures, &'static str> {
        let header = |word: Header| words[word as usize];
        if header(Header::Magic) != MAGIC {
            return Err("is no statistics file");
        }
        if header(Header::Layout) != LAYOUT {
            return Err(OTHER_LAYOUT);
        }
        let pid = u32::try_from(header(Header::Pid)).map_err(|_| "is damaged")?;
        let name: Vec<u8> = words[Header::Name as usize..][..NAME_WORDS]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();

        let block = |number: usize| {
            let words = &words[HEADER_WORDS + number * BLOCK_WORDS..][..BLOCK_WORDS];
            let (figures, stripes) = words.split_at(FIGURES);
            let mut block = Block::EMPTY;
            block.0.copy_from_slice(figures);
            for stripe in stripes.chunks_exact(STRIPE_WORDS) {
                for (word, &more) in [Word::Hits, Word::Misses].into_iter().zip(stripe) {
                    let sum = &mut block.0[word as usize];
                    *sum = sum.saturating_add(more);
                }
            }
            block
        };
        // A number that is there twice would be two series of one name.
        let mut seen = HashSet::new();
        let mut contexts: Vec<Block> = (0..BLOCKS)
            .filter(|&number| number != ENDED && number != OTHERS)
            .map(block)
            .filter(|block| block.get(Word::Number) != 0 && seen.insert(block.get(Word::Number)))
            .collect();
        contexts.sort_by_key(|block| block.get(Word::Number));
        Ok(Figures {
            pid,
            start: header(Header::Start),
            uid: 0,
            program: printable(name),
            begun: header(Header::Begun),
            ended: header(Header::Ended),
            contexts,
            past: block(ENDED),
            others: block(OTHERS),
        })
    }
}

/// A file by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    path: PathBuf,
    /// The process that it is named after.
    pub pid: u32,
    start: u64,
}

/// Why there is nothing to show of a file.
#[derive(Debug)]
pub enum Absent {
    /// It is another user's.
    Foreign,
    /// Its process has ended, or runs another program by now. `true`: the file was removed.
    Stale(#[allow(dead_code, reason = "the tests ask")] bool),
    /// It cannot be used: one line that says why.
    Bad(String),
    /// Another user, whose it is, has made something that cannot be used; likewise.
    BadForeign(String),
}

/// The files that are there, by process.
pub fn entries() -> io::Result<Vec<Entry>> {
    entries_in(Path::new(FOLDER))
}

fn entries_in(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| {
            let (pid, start) = name.strip_prefix(PREFIX)?.split_once('.')?;
            let (pid, start) = (pid.parse().ok()?, start.parse().ok()?);
            // Nothing but what the library would call it: no sign, no leading zero.
            (name == format!("{PREFIX}{pid}.{start}")).then(|| Entry {
                path: folder.join(&name),
                pid,
                start,
            })
        })
        .collect();
    entries.sort_by_key(|entry| (entry.pid, entry.start));
    Ok(entries)
}

impl Entry {
    /// Reads the file, if it is that of a living process and ours to read.
    pub fn read(&self) -> Result<Figures, Absent> {
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

    fn read_ours(&self) -> Result<Figures, Absent> {
        let bad =
            |why: &dyn std::fmt::Display| Absent::Bad(format!("{} {why}", self.path.display()));
        // Without O_NONBLOCK a pipe of that name would hold us up.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(&self.path);
        let file = match file {
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
        if !self.is_live(&about) {
            return Err(Absent::Stale(self.remove(&about)));
        }
        let other_layout = words(&file, Header::Layout as usize + 1).is_ok_and(|head| {
            head[Header::Magic as usize] == MAGIC && head[Header::Layout as usize] != LAYOUT
        });
        if other_layout {
            return Err(bad(&OTHER_LAYOUT));
        }
        if about.len() != (WORDS * 8) as u64 {
            return Err(bad(&format!(
                "is damaged: it has {} bytes instead of {}",
                about.len(),
                WORDS * 8
            )));
        }
        let words = words(&file, WORDS).map_err(|error| bad(&error))?;
        let mut figures = Figures::parse(&words).map_err(|why| bad(&why))?;
        if (figures.pid, figures.start) != (self.pid, self.start) {
            return Err(bad(&"is damaged: it is of another process than its name says"));
        }
        figures.uid = about.uid();
        figures.age(now());
        Ok(figures)
    }

    /// The process is the one that made the file, and still has it mapped. The start alone would not do: a
    /// process that became another program keeps it, and so could somebody else's process be named.
    fn is_live(&self, about: &fs::Metadata) -> bool {
        start_of(self.pid) == Some(self.start)
            && match fs::read(format!("/proc/{}/maps", self.pid)) {
                Ok(maps) => shows(&maps, about),
                // Not ours to look into: the start has to do.
                Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
            }
    }

    /// Removes a stale file, if it surely is one: nobody has it mapped, and it is not just being made. (Processes
    /// of another pid namespace that shares the folder have numbers that mean others here.)
    fn remove(&self, about: &fs::Metadata) -> bool {
        let settled = about
            .modified()
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok())
            .is_some_and(|age| age >= Duration::from_secs(2));
        settled && !mapped_by_anyone(about) && fs::remove_file(&self.path).is_ok()
    }
}

/// So many words, from the first on.
fn words(file: &File, count: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count * 8];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
        .collect())
}

/// A line of `/proc/PID/maps` has this file: addresses, rights, offset, device, inode.
fn shows(maps: &[u8], file: &fs::Metadata) -> bool {
    let device = format!("{:02x}:{:02x}", libc::major(file.dev()), libc::minor(file.dev()));
    let inode = file.ino().to_string();
    maps.split(|&byte| byte == b'\n').any(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(3);
        fields.next() == Some(device.as_bytes()) && fields.next() == Some(inode.as_bytes())
    })
}

fn mapped_by_anyone(file: &fs::Metadata) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    processes
        .filter_map(Result::ok)
        .filter(|entry| {
            entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
        })
        .any(|entry| fs::read(entry.path().join("maps")).is_ok_and(|maps| shows(&maps, file)))
}

/// When a process began: field 22 of its `stat`, counted behind the name, which may hold anything.
pub fn start_of(pid: u32) -> Option<u64> {
    let mut stat = Vec::new();
    File::open(format!("/proc/{pid}/stat")).ok()?.take(4096).read_to_end(&mut stat).ok()?;
    let after = stat.iter().rposition(|&byte| byte == b')')? + 1;
    String::from_utf8_lossy(&stat[after..]).split_ascii_whitespace().nth(19)?.parse().ok()
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
    /// Files of other users that are not ours to read, or, for root, cannot be used.
    pub foreign: usize,
}

/// Reads what there is of this process, or of all.
pub fn read(pid: Option<u32>) -> Reading {
    let mut reading = Reading::default();
    let entries = match entries() {
        Ok(entries) => entries,
        Err(error) => {
            reading.complaints.push(format!("{FOLDER} cannot be read: {error}"));
            return reading;
        }
    };
    for entry in entries.iter().filter(|entry| pid.is_none_or(|pid| pid == entry.pid)) {
        match entry.read() {
            Ok(figures) => reading.processes.push(figures),
            Err(Absent::Foreign) => reading.foreign += 1,
            Err(Absent::Stale(_)) => {}
            Err(Absent::Bad(why)) => reading.complaints.push(why),
            // Who asked for this process should know; elsewhere nobody must be able to spoil what root sees.
            Err(Absent::BadForeign(why)) if pid.is_some() => reading.complaints.push(why),
            Err(Absent::BadForeign(_)) => reading.foreign += 1,
        }
    }
    reading
}

/// Why nothing can be shown of this process.
pub fn why_nothing(pid: u32, reading: &Reading) -> String {
    if let Some(complaint) = reading.complaints.first() {
        return complaint.clone();
    }
    if start_of(pid).is_none() {
        return format!("there is no process {pid}");
    }
    if reading.foreign > 0 {
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

    /// The words of a file for a process, with a context's numbers.
    pub fn sample(pid: u32, start: u64, blocks: &[(usize, &[(usize, u64)])]) -> Vec<u64> {
        let mut words = vec![0; WORDS];
        for (word, value) in [
            (Header::Magic, MAGIC),
            (Header::Layout, LAYOUT),
            (Header::Pid, pid.into()),
            (Header::Start, start),
            (Header::Begun, blocks.iter().filter(|(block, _)| *block > OTHERS).count() as u64),
        ] {
            words[word as usize] = value;
        }
        words[Header::Name as usize] = u64::from_ne_bytes(*b"nginx\0\0\0");
        for (block, figures) in blocks {
            for &(word, value) in *figures {
                words[HEADER_WORDS + block * BLOCK_WORDS + word] = value;
            }
        }
        words
    }

    /// What `sample` says, read.
    pub fn figures(blocks: &[(usize, &[(usize, u64)])]) -> Figures {
        Figures::parse(&sample(4711, 99, blocks)).expect("it is whole")
    }

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("sslsweep-figures-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("the scratch folder");
        folder
    }

    fn entry(folder: &Path, pid: u32, start: u64) -> Entry {
        Entry { path: folder.join(format!("{PREFIX}{pid}.{start}")), pid, start }
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
    fn read_mine(name: &str, content: &[u8]) -> Result<Figures, Absent> {
        let (pid, start) = me();
        let folder = folder(name);
        let entry = entry(&folder, pid, start);
        fs::write(&entry.path, content).expect("the file is written");
        let _mapped = Mapped::new(&entry.path);
        let result = entry.read();
        fs::remove_dir_all(folder).expect("the scratch folder");
        result
    }

    fn complaint(result: Result<Figures, Absent>) -> String {
        match result {
            Err(Absent::Bad(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lookups_are_counted_in_stripes() {
        let stripe = |stripe: usize| FIGURES + stripe * STRIPE_WORDS;
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
        let figures = read_mine("living", &bytes(&words)).expect("it is whole");
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
        let changed = |word: Header, value| {
            let mut words = whole.clone();
            words[word as usize] = value;
            bytes(&words)
        };
        let cut = bytes(&whole[..WORDS - 1]);
        for (content, why) in [
            (cut, "damaged"),
            (bytes(&[whole.clone(), vec![0]].concat()), "damaged"),
            (vec![1], "damaged"),
            (changed(Header::Magic, 1), "no statistics file"),
            (changed(Header::Layout, LAYOUT + 1), "another version"),
            (changed(Header::Pid, u64::MAX), "damaged"),
            (changed(Header::Pid, 1), "another process"),
            (changed(Header::Start, 1), "another process"),
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
            fs::write(&entry.path, bytes(&sample(pid, start, &[]))).expect("the file is written");
            assert!(matches!(entry.read(), Err(Absent::Stale(false))), "it may be in the making");
            let old = SystemTime::now() - Duration::from_secs(60);
            File::options()
                .write(true)
                .open(&entry.path)
                .and_then(|file| file.set_modified(old))
                .expect("made older");
            let mapping = mapped.then(|| Mapped::new(&entry.path));
            match entry.read() {
                Err(Absent::Stale(removed)) => assert_eq!(removed, !mapped),
                other => panic!("{other:?}"),
            }
            assert_eq!(entry.path.exists(), mapped);
            drop(mapping);
        }
        for name in [
            "sslsweep.1",
            "sslsweep.x.1",
            "sslsweep.1.1.1",
            "sslsweep.+1.1",
            "sslsweep.01.1",
            "other",
        ] {
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
        fn any_words(seed in proptest::collection::vec(any::<u64>(), 64), stride in 1_usize..64) {
            let (pid, start) = me();
            let mut words: Vec<u64> = (0..WORDS).map(|at| seed[at * stride % seed.len()]).collect();
            words[..4].copy_from_slice(&sample(pid, start, &[])[..4]);
            let figures = Figures::parse(&words).expect("the header is right");
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
