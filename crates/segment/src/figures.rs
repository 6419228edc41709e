//! Figures: counts that only rise, shared by all processes, and a census of the slots.

use std::sync::atomic::Ordering;

use crate::header::{Header, STRIPES, TALLIES};
use crate::slots::{Bucket, Name, State};

/// An event that is counted. Its number is the place of its count in a stripe.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    Put,
    Hit,
    Miss,
    Taken,
    Forgotten,
    Evicted,
    Refused,
    Marked,
}

/// Counts one event of an operation on this name.
pub(crate) fn count(header: Header<'_>, name: Name, event: Event) {
    let stripe = header.stripe(name.stripe(STRIPES));
    stripe[event as usize].fetch_add(1, Ordering::Relaxed);
}

/// The events in a segment since it was made, in all processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Records that were put.
    pub puts: u64,
    /// Gets that found a record.
    pub hits: u64,
    /// Gets and takes that found none.
    pub misses: u64,
    /// Takes that got a record.
    pub takes: u64,
    /// Names that were forgotten.
    pub forgets: u64,
    /// Unexpired records that left for another name.
    pub evictions: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Forgets that found no slot, and hid all that their bucket held.
    pub marked: u64,
}

impl Counts {
    pub(crate) fn read(header: Header<'_>) -> Self {
        let sum = |event: Event| {
            let counts = (0..STRIPES).map(|stripe| &header.stripe(stripe)[event as usize]);
            counts.fold(0u64, |sum, count| sum.wrapping_add(count.load(Ordering::Relaxed)))
        };
        Self {
            puts: sum(Event::Put),
            hits: sum(Event::Hit),
            misses: sum(Event::Miss),
            takes: sum(Event::Taken),
            forgets: sum(Event::Forgotten),
            evictions: sum(Event::Evicted),
            refused: sum(Event::Refused),
            marked: sum(Event::Marked),
        }
    }
}

/// The slots of a segment by their state, at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Slots that were never used, or whose contents have expired.
    pub empty: u64,
    /// Slots that are being written, or are lost because their writer was killed.
    pub busy: u64,
    /// Slots with an unexpired record.
    pub live: u64,
    /// Slots whose name was taken or forgotten, and whose expiry is still to come.
    pub dead: u64,
}

impl Census {
    pub(crate) fn add(&mut self, bucket: Bucket<'_>, now: u64) {
        for state in bucket.states(now) {
            *match state {
                State::Empty => &mut self.empty,
                State::Busy => &mut self.busy,
                State::Live => &mut self.live,
                State::Dead => &mut self.dead,
            } += 1;
        }
    }
}

/// An event that the agent counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tally {
    /// A record was sent to the engine.
    Published,
    /// A record that may be used once was not sent.
    Withheld,
    /// The engine knew a removal of the record that was sent.
    Tombstoned,
    /// A removal was sent.
    Removed,
    /// A removal of another machine's has made a name dead here.
    Applied,
    /// A record was fetched.
    Fetched,
    /// The engine did not have a record that was asked for.
    Absent,
    /// What the engine has sent was of no use.
    Unfit,
    /// An operation on the engine failed.
    Failed,
    /// The removals stream had a gap, and the floor was raised.
    Gap,
    /// A connection was made anew.
    Reconnected,
    /// The epoch was raised by the fleet.
    Revoked,
}

impl Tally {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Published,
        Self::Withheld,
        Self::Tombstoned,
        Self::Removed,
        Self::Applied,
        Self::Fetched,
        Self::Absent,
        Self::Unfit,
        Self::Failed,
        Self::Gap,
        Self::Reconnected,
        Self::Revoked,
    ];
}

const _: () = assert!(Tally::ALL.len() <= TALLIES);

/// What the header says about the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentState {
    /// 0 if no agent was ever attached; else a number that changes ten times a second while one lives.
    pub beat: u64,
    /// The agent can reach the engine.
    pub upstream: bool,
    /// The last entry of the removals stream that was read.
    pub stream: Position,
    /// Nobody waits for the agent at present, since several deadlines in a row were missed.
    pub breaker_open: bool,
    tallies: [u64; Tally::ALL.len()],
}

impl AgentState {
    pub(crate) fn read(header: Header<'_>) -> Self {
        let [ms, seq] = header.stream();
        Self {
            beat: header.agent().load(Ordering::Relaxed),
            upstream: header.upstream().load(Ordering::Relaxed) == 1,
            stream: Position { ms: ms.load(Ordering::Acquire), seq: seq.load(Ordering::Relaxed) },
            breaker_open: header.breaker().is_open(),
            tallies: std::array::from_fn(|at| header.tallies()[at].load(Ordering::Relaxed)),
        }
    }

    /// The count of an event, by all agents since the segment was made.
    pub fn count(&self, tally: Tally) -> u64 {
        self.tallies[tally as usize]
    }
}

/// A place in the removals stream: the id of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its first half: milliseconds since 1970, by the engine's clock.
    pub ms: u64,
    /// Its second half: a number within the millisecond.
    pub seq: u64,
}
