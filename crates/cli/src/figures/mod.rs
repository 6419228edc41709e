//! The figures that processes publish (`sslsweep_figures`). Nothing in a file is taken on trust: it is read into memory, since a mapped
//! file could be cut short under our hands, and whatever it holds can only make its own numbers wrong.
//!
//! [`file`] reads one file, [`reading`] all that there are; here is what they say.

/// The place of a field among a family's words.
macro_rules! place {
    ($($field:ident in $type:ty),*) => { ($(std::mem::offset_of!($type, $field) +)* 0) / 8 };
}

mod file;
mod reading;
#[cfg(test)]
pub mod tests;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::verdict::Verdict;
pub use file::ask;
pub use reading::{Reading, again, lives, missing, no_process, read};
pub use sslsweep_figures::files::start_of;
pub use sslsweep_figures::processes::are_hidden;
use sslsweep_figures::{CURVE, FIGURES, HORIZONS, REQUEST_ALL, STEPS, Word, curve_part};

/// The figures of a process and of its contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The process.
    pub pid: u32,
    /// When it began, in clock ticks since the machine did.
    pub start: u64,
    /// The user whose file it is.
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
    /// The place that they were read from.
    pub source: Source,
}

/// The place of a process in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    place: usize,
    /// The process's own pid, which in a container is another than the one that we know it by.
    pid: u32,
}

/// The contexts whose figures a block has.
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
    /// This number.
    Most(u64),
}

impl Limit {
    /// Both together.
    pub fn with(self, other: Limit) -> Limit {
        match (self, other) {
            (Limit::Most(one), Limit::Most(other)) => Limit::Most(one.saturating_add(other)),
            (Limit::Unknown, _) | (_, Limit::Unknown) => Limit::Unknown,
            _ => Limit::Any,
        }
    }
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
                self.contexts.iter().map(of).reduce(Limit::with).unwrap_or(Limit::Unknown)
            }
        }
    }

    /// Returns whether a context with sessions has yet to obey a request to flush all. (Of those without a block it is not
    /// known.)
    fn has_yet_to_flush_all(&self) -> bool {
        let waits =
            |it: &Block| it.get(Word::Sessions) > 0 && it.get(Word::Answered) != self.request;
        self.request & REQUEST_ALL != 0 && (self.contexts.iter().any(waits) || waits(&self.others))
    }

    /// Moves the curves on to this second.
    fn age(&mut self, now: u64) {
        self.contexts.iter_mut().for_each(|block| block.age(now));
    }

    /// The lines that a table has for the process: the sum where there is more than one thing to add, and each of these.
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

/// The user whose files are ours to read; root reads all.
pub fn user() -> u32 {
    // SAFETY: a plain query.
    unsafe { libc::geteuid() }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// The processes of one program.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'a str,
    /// At least one.
    pub processes: Vec<&'a Figures>,
}

/// The processes by program, in the order of the first of each.
pub fn programs(processes: &[Figures]) -> Vec<Program<'_>> {
    let mut programs: Vec<Program> = Vec::new();
    for figures in processes {
        match programs.iter_mut().find(|program| program.name == figures.program) {
            Some(program) => program.processes.push(figures),
            None => programs.push(Program { name: &figures.program, processes: vec![figures] }),
        }
    }
    programs
}

impl Program<'_> {
    /// The figures of all its processes together.
    pub fn total(&self) -> Block {
        self.processes.iter().fold(Block::EMPTY, |sum, figures| sum.with(&figures.total()))
    }

    /// The most sessions that all its processes store together.
    pub fn limit(&self) -> Limit {
        let limits = self.processes.iter().map(|figures| figures.limit(Place::All));
        limits.reduce(Limit::with).unwrap_or(Limit::Unknown)
    }

    /// The verdict of all its processes together.
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.processes.iter().map(|figures| Verdict::of_process(figures));
        verdicts.min().unwrap_or(Verdict::Unused)
    }
}
