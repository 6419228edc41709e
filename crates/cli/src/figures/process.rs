//! The figures of a process.

use std::path::PathBuf;

use sslsweep_figures::{REQUEST_ALL, Word};

use super::block::Block;
use super::sharing::Sharing;

/// The figures of a process and of its contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The process.
    pub pid: u32,
    /// Its start, in clock ticks since the start of the machine.
    pub start: u64,
    /// The owner of the file.
    pub uid: u32,
    /// The program's name, printable.
    pub program: String,
    /// Contexts that have begun.
    pub begun: u64,
    /// Contexts that have ended.
    pub ended: u64,
    /// Contexts left to libssl because they lie in shared memory.
    pub left_shared: u64,
    /// Its counts of sharing.
    pub sharing: Sharing,
    /// The version of the library ([`sslsweep_figures::version`]); 0 if it does not say.
    pub version: u64,
    /// An operator's last request to flush; 0 if there was none.
    pub request: u64,
    /// Each living context with a block of its own, by number.
    pub contexts: Vec<Block>,
    /// The sums of contexts that have ended.
    pub past: Block,
    /// The sums of contexts that found no block.
    pub others: Block,
    /// The place from which the figures were read.
    pub source: Source,
}

/// The place of a process in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    pub(super) path: PathBuf,
    pub(super) place: usize,
    /// The pid that the process itself knows, which differs from ours in a container.
    pub(super) pid: u32,
}

/// The contexts whose figures a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// All contexts, including those that have ended.
    All,
    /// One context, by its number.
    Context(u64),
    /// The contexts without a block.
    Others,
    /// The contexts that have ended.
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

/// A limit on stored sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// It is not published, or there is none to publish.
    Unknown,
    /// Any number.
    Any,
    /// This number.
    Most(u64),
}

impl Limit {
    /// The limit of both together.
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

impl Figures {
    /// The sums of all contexts, including those that have ended. ([`Figures::limit`] has the limit.)
    pub fn total(&self) -> Block {
        let blocks = [&self.others, &self.past].into_iter().chain(&self.contexts);
        blocks.fold(Block::EMPTY, |sum, block| sum.with(block))
    }

    /// The limit of this place. All contexts together have one if each has published its own.
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

    /// Returns whether a context with sessions has yet to obey a request to flush all. (For contexts without a block this
    /// is a guess.)
    pub(super) fn has_yet_to_flush_all(&self) -> bool {
        let waits =
            |it: &Block| it.get(Word::Sessions) > 0 && it.get(Word::Answered) != self.request;
        self.request & REQUEST_ALL != 0 && (self.contexts.iter().any(waits) || waits(&self.others))
    }

    /// Moves the curves to this second.
    pub(super) fn age(&mut self, now: u64) {
        self.contexts.iter_mut().for_each(|block| block.age(now));
    }

    /// The lines of the process in a table: the sum, if there is more than one line to add, and each line.
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
