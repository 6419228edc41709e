//! The header: two pages that say what the memory is, and hold the words of all processes and of the agent.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::fleet::{Bell, Breaker, CELL_WORDS, CELLS, Cells};
use crate::slots::{BUCKET_WORDS, Dirty, GROUP_WORDS, SLOT_WORDS, WAYS};

/// The words of the header: whole pages, so that buckets are pages as well.
pub(crate) const HEADER_WORDS: usize = 2 * PAGE_WORDS;
const PAGE_WORDS: usize = 512;

const MAGIC: u64 = u64::from_be_bytes(*b"sslsegm\0");
/// Rises with each change of the layout or of the protocol.
const LAYOUT: u64 = 2;
const SHAPE: u64 = (SLOT_WORDS as u64) << 32 | WAYS as u64;

// The words. Those that change have cache lines of their own, of eight words.
const MAGIC_AT: usize = 0;
const LAYOUT_AT: usize = 1;
const SHAPE_AT: usize = 2;
const BYTES_AT: usize = 3;
const HOME_AT: usize = 4;
const SEQUENCE_AT: usize = 8;
// Read by every operation, changed ten times a second at most.
const EPOCH_AT: usize = 16;
const FLOOR_AT: usize = 17;
const AGENT_AT: usize = 18;
const UPSTREAM_AT: usize = 19;
const STREAM_MS_AT: usize = 24;
const STREAM_SEQ_AT: usize = 25;
const MARKS_TOLD_AT: usize = 26;
const WITHHELD_AT: usize = 27;
const MISSED_AT: usize = 32;
const TRIED_AT: usize = 33;
const RUNG_AT: usize = 40;
const SLEEPING_AT: usize = 41;
const PENDING_AT: usize = 48;
const TOP_AT: usize = 56;
const STRIPES_AT: usize = 64;
const GROUPS_AT: usize = 192;
const TALLIES_AT: usize = 256;
const CELLS_AT: usize = PAGE_WORDS;

/// The cache lines over which counts are spread, so that processes seldom meet there.
pub(crate) const STRIPES: usize = 16;
/// The counts of one cache line.
pub(crate) const STRIPE_WORDS: usize = 8;
/// The counts that the agent may have.
pub(crate) const TALLIES: usize = 32;

const _: () = assert!(
    PAGE_WORDS == BUCKET_WORDS
        && STRIPES_AT + STRIPES * STRIPE_WORDS <= GROUPS_AT
        && GROUPS_AT + GROUP_WORDS <= TALLIES_AT
        && TALLIES_AT + TALLIES <= CELLS_AT
        && CELLS_AT + CELLS * CELL_WORDS <= HEADER_WORDS
);

/// Rounds a size in bytes down to the header and whole buckets; fails if no bucket fits.
pub(crate) fn whole_bytes(bytes: u64) -> Result<usize, Error> {
    let page = PAGE_WORDS as u64 * 8;
    let whole = bytes - bytes % page;
    let whole = usize::try_from(whole).map_err(|_| Error::Size)?;
    if whole < (HEADER_WORDS + BUCKET_WORDS) * 8 || isize::try_from(whole).is_err() {
        return Err(Error::Size);
    }
    Ok(whole)
}

/// The header in the first pages of a mapping.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a>(&'a [AtomicU64]);

impl<'a> Header<'a> {
    /// Splits a mapping into its header and its buckets.
    pub(crate) fn split(words: &'a [AtomicU64]) -> (Self, &'a [AtomicU64]) {
        let (header, buckets) = words.split_at(HEADER_WORDS);
        (Self(header), buckets)
    }

    /// Writes the header of a segment of this size in bytes, and its random number. The rest of its memory is zero.
    pub(crate) fn write(self, bytes: usize, home: u64) {
        let words = [
            (LAYOUT_AT, LAYOUT),
            (SHAPE_AT, SHAPE),
            (BYTES_AT, bytes as u64),
            (HOME_AT, home),
            (MAGIC_AT, MAGIC),
        ];
        for (at, word) in words {
            self.0[at].store(word, Ordering::Release);
        }
    }

    /// Checks that the memory is a segment of this size, and returns its random number. Neither is read again.
    pub(crate) fn check(self, bytes: usize) -> Result<u64, Error> {
        let read = |at: usize| self.0[at].load(Ordering::Acquire);
        if read(MAGIC_AT) != MAGIC {
            return Err(Error::NotSegment);
        }
        match read(LAYOUT_AT) {
            LAYOUT if read(SHAPE_AT) != SHAPE || read(BYTES_AT) != bytes as u64 => {
                Err(Error::Geometry)
            }
            LAYOUT => Some(read(HOME_AT)).filter(|&home| home != 0).ok_or(Error::NotSegment),
            other => Err(Error::Layout(other)),
        }
    }

    /// The number of the last put.
    pub(crate) fn sequence(self) -> &'a AtomicU64 {
        &self.0[SEQUENCE_AT]
    }

    /// The counts of one stripe.
    pub(crate) fn stripe(self, stripe: usize) -> &'a [AtomicU64] {
        &self.0[STRIPES_AT + stripe * STRIPE_WORDS..][..STRIPE_WORDS]
    }

    /// Records that were made in an earlier epoch are refused.
    pub(crate) fn epoch(self) -> &'a AtomicU64 {
        &self.0[EPOCH_AT]
    }

    /// Records that were published in this second or earlier are refused.
    pub(crate) fn floor(self) -> &'a AtomicU64 {
        &self.0[FLOOR_AT]
    }

    /// 0 until an agent is attached; changes as long as one lives.
    pub(crate) fn agent(self) -> &'a AtomicU64 {
        &self.0[AGENT_AT]
    }

    /// 1 while the agent can reach the engine.
    pub(crate) fn upstream(self) -> &'a AtomicU64 {
        &self.0[UPSTREAM_AT]
    }

    /// The last entry of the removals stream that the agent has read: milliseconds and number.
    pub(crate) fn stream(self) -> [&'a AtomicU64; 2] {
        [&self.0[STREAM_MS_AT], &self.0[STREAM_SEQ_AT]]
    }

    /// The forgets without a slot of which the agent has told the fleet.
    pub(crate) fn marks_told(self) -> &'a AtomicU64 {
        &self.0[MARKS_TOLD_AT]
    }

    /// The number of the last put before the agent missed removals.
    pub(crate) fn withheld(self) -> &'a AtomicU64 {
        &self.0[WITHHELD_AT]
    }

    /// The counts of the agent.
    pub(crate) fn tallies(self) -> &'a [AtomicU64] {
        &self.0[TALLIES_AT..][..TALLIES]
    }

    /// The marks of changed slots.
    pub(crate) fn dirty(self) -> Dirty<'a> {
        Dirty::new(&self.0[AGENT_AT], &self.0[TOP_AT], &self.0[GROUPS_AT..][..GROUP_WORDS])
    }

    /// The questions to the agent.
    pub(crate) fn cells(self) -> Cells<'a> {
        let bell = Bell::new(&self.0[RUNG_AT], &self.0[SLEEPING_AT]);
        Cells::new(&self.0[CELLS_AT..][..CELLS * CELL_WORDS], &self.0[PENDING_AT], bell)
    }

    /// What keeps processes from waiting for nothing.
    pub(crate) fn breaker(self) -> Breaker<'a> {
        Breaker::new(&self.0[MISSED_AT], &self.0[TRIED_AT])
    }

    /// Any word, for tests.
    #[cfg(test)]
    pub(crate) fn word(self, at: usize) -> &'a AtomicU64 {
        &self.0[at]
    }
}
