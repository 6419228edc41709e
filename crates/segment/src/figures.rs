//! Figures: counts that only rise, shared by all processes, and a census of the slots.

use std::sync::atomic::Ordering;

use crate::header::{Header, STRIPES};
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
