//! Figures for the operator, who asks for them by `SSLSWEEP_STATS=1`: a file in shared memory that only the
//! process's user can read, and that the `sslsweep` command does ([`layout`]).
//!
//! Whoever changes a figure writes it there, with one store or addition and no lock. There is no thread and no
//! signal; nobody who reads can change anything, since the file is never read back. It holds numbers and the
//! program's name: no session id, no secret, no address.

mod file;
#[allow(dead_code, reason = "the other half is the reader's")]
pub(crate) mod layout;

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::{Cache, Expiry, Observer, Statistics};
use crate::time;
use file::{add, block, claim, count_lookup, raise, release, say_what_failed, set};
use layout::{CURVE, OTHERS, STEPS, Word, curve_part};

/// Where the figures of one context are. Contexts that found no block of their own add up in one.
#[derive(Debug, Clone, Copy)]
struct Block(usize);

/// What a context publishes. Without `SSLSWEEP_STATS` there is none.
#[derive(Debug)]
pub(crate) struct Published {
    block: Block,
    /// So many more changes, and the curve is drawn again.
    until_curve: AtomicU32,
    /// From this second on, it is drawn with the next change.
    curve_due: AtomicI64,
}

impl Published {
    /// Takes a block, if figures are published at all.
    pub(crate) fn new() -> Option<Self> {
        let block = Block(claim()?);
        Some(Self { block, until_curve: AtomicU32::new(0), curve_due: AtomicI64::new(0) })
    }

    /// Who writes the cache's changes down. (The block is given up by [`Published`] alone.)
    pub(crate) fn observer(&self) -> Box<dyn Observer> {
        Box::new(Writer { block: self.block, former: Default::default() })
    }

    pub(crate) fn set_limit(&self, limit: i64) {
        if self.block.0 != OTHERS {
            self.set(Word::Limit, limit.max(0) as u64);
        }
    }

    pub(crate) fn note_external_hit(&self) {
        self.add(Word::ExternalHits as usize, 1);
    }

    pub(crate) fn note_external_miss(&self) {
        count_lookup(self.block.0, Word::Misses);
    }

    pub(crate) fn note_batch(&self, step: usize, longest: u64) {
        self.add(Word::BatchTimes as usize + step.min(STEPS - 1), 1);
        raise(self.block.0, Word::LongestBatch as usize, longest);
    }

    pub(crate) fn note_flush<S: Clone + PartialEq>(
        &self,
        step: usize,
        removed: u64,
        took: Duration,
        cache: &Cache<S>,
    ) {
        self.add(Word::FlushTimes as usize + step.min(STEPS - 1), 1);
        self.add(Word::Flushes as usize, 1);
        self.set(Word::LastRemoved, removed);
        self.set(Word::LastTook, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.set(Word::LastFlush, time::now().max(0) as u64);
        self.note_changes(removed, cache);
    }

    pub(crate) fn note_change<S: Clone + PartialEq>(&self, cache: &Cache<S>) {
        self.note_changes(1, cache);
    }

    /// So many sessions came or went: now and then what is stored is looked through for the curve. Where much
    /// changes, that costs a change one second's bucket on the average; where little does, a second a thousand
    /// of them. (Not after each flush, as there may be one with each store.)
    fn note_changes<S: Clone + PartialEq>(&self, sessions: u64, cache: &Cache<S>) {
        say_what_failed();
        let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
        match self.until_curve.load(Ordering::Relaxed).checked_sub(sessions) {
            Some(left) if time::about_now() < self.curve_due.load(Ordering::Relaxed) => {
                self.until_curve.store(left, Ordering::Relaxed);
            }
            _ => self.draw_curve(cache),
        }
    }

    fn draw_curve<S: Clone + PartialEq>(&self, cache: &Cache<S>) {
        if self.block.0 == OTHERS {
            return;
        }
        let now = time::now();
        let mut curve = [0; CURVE];
        let mut seconds = 0u32;
        cache.for_each_expiry(|expiry, sessions| {
            let left = match expiry {
                Expiry::NEVER => i64::MAX,
                _ => expiry.seconds().saturating_sub(now).min(i64::MAX - 1),
            };
            curve[curve_part(left)] += sessions;
            seconds += 1;
        });
        for (part, sessions) in curve.into_iter().enumerate() {
            set(self.block.0, Word::Curve as usize + part, sessions);
        }
        self.set(Word::CurveMade, now.max(0) as u64);
        self.until_curve.store(seconds, Ordering::Relaxed);
        self.curve_due.store(now.saturating_add(1 + i64::from(seconds) / 1000), Ordering::Relaxed);
    }

    fn set(&self, word: Word, value: u64) {
        set(self.block.0, word as usize, value);
    }

    fn add(&self, word: usize, more: u64) {
        add(self.block.0, word, more);
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        release(self.block.0);
    }
}

/// Contexts in memory that processes share, which were left to libssl.
static LEFT_SHARED: AtomicU64 = AtomicU64::new(0);

/// One more context was left to libssl because processes share its memory (P11). Returns how many were before.
pub(crate) fn note_left_shared() -> u64 {
    LEFT_SHARED.fetch_add(1, Ordering::Relaxed)
}

/// Writes a cache's changes down.
#[derive(Debug)]
struct Writer {
    block: Block,
    /// What was written last, of contexts that share a block.
    former: [AtomicU64; 5],
}

impl Observer for Writer {
    fn changed(&self, sessions: usize, done: &Statistics) {
        let words = [Word::Sessions, Word::Stores, Word::Evictions, Word::Flushed, Word::Removals];
        let values = [sessions as u64, done.stored, done.evicted, done.flushed, done.taken];
        let Some(block) = block(self.block.0) else { return };
        for ((word, value), former) in words.into_iter().zip(values).zip(&self.former) {
            let place = &block[word as usize];
            if self.block.0 == OTHERS {
                let former = former.swap(value, Ordering::Relaxed);
                place.fetch_add(value.wrapping_sub(former), Ordering::Relaxed);
            } else {
                place.store(value, Ordering::Relaxed);
            }
        }
    }

    fn looked_up(&self, found: bool) {
        count_lookup(self.block.0, if found { Word::Hits } else { Word::Misses });
    }
}
