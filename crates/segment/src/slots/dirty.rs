//! The marks of changed slots: how the agent learns of each change without being called.
//!
//! A bit for each slot in its bucket, a bit for each group of buckets, and one for each word of groups. Whoever
//! changes a slot sets the three from below, the agent clears them from above and reads the slot last. A bit that
//! seems set is left alone, so that processes do not fight for the upper words. Fences make that safe: either the bit
//! was seen before the agent cleared it, and the agent sees what lies below; or the bit is seen clear, and set.
//!
//! Without an agent nothing is marked. The agent shows itself first, and reads all slots then: a process that has not seen
//! it has changed its slot before.

use super::bucket::{Bucket, Torn, WAYS};
use super::record::Change;
use super::sync::{AtomicU64, Ordering, fence};

/// The words of groups, each with a bit in the top word.
pub const GROUP_WORDS: usize = if cfg!(sslsweep_model) { 2 } else { 64 };

const BITS: usize = u64::BITS as usize;

/// All slots of a bucket.
const ALL: u64 = (1 << WAYS) - 1;

/// The upper words of the marks, and the word that shows the agent.
#[derive(Clone, Copy)]
pub struct Dirty<'a> {
    agent: &'a AtomicU64,
    top: &'a AtomicU64,
    groups: &'a [AtomicU64],
}

impl<'a> Dirty<'a> {
    /// The marks in these words. There are [`GROUP_WORDS`] words of groups.
    pub fn new(agent: &'a AtomicU64, top: &'a AtomicU64, groups: &'a [AtomicU64]) -> Self {
        Self { agent, top, groups }
    }

    /// Shows that the agent lives, by another number than before, and not 0. From the first time on changes are
    /// marked. What was changed before is found by [`Passes`] that begin afterwards.
    pub fn beat(self) {
        let next = self.agent.load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.agent.store(next, Ordering::SeqCst);
    }

    /// Returns whether there is an agent. A slot was changed just before.
    pub(super) fn is_wanted(self) -> bool {
        // Pairs with the fence of `clear`: the first pass of an agent that is not seen here sees the change. It was
        // sequentially consistent, as this load is, so neither needs a fence. (loom knows that order of fences
        // alone.)
        if cfg!(sslsweep_model) {
            fence(Ordering::SeqCst);
        }
        self.agent.load(Ordering::SeqCst) != 0
    }

    /// Marks slots of a bucket, which has this mask.
    pub(super) fn mark(self, bucket: usize, mask: &AtomicU64, slots: u64) {
        // Unconditionally: the agent, who takes the bit, sees what was changed before.
        mask.fetch_or(slots, Ordering::AcqRel);
        let group = bucket % self.group_count();
        set(&self.groups[group / BITS], group % BITS);
        set(self.top, group / BITS);
    }

    /// The buckets whose numbers differ by a multiple of this are one group.
    fn group_count(self) -> usize {
        self.groups.len() * BITS
    }
}

/// Sets a bit, after what lies below it.
fn set(word: &AtomicU64, bit: usize) {
    // Pairs with the fence of `clear`.
    fence(Ordering::SeqCst);
    if word.load(Ordering::Relaxed) & 1 << bit == 0 {
        word.fetch_or(1 << bit, Ordering::AcqRel);
    }
}

/// Takes the bits of a word, before what lies below them is read.
fn clear(word: &AtomicU64) -> u64 {
    let bits = word.swap(0, Ordering::AcqRel);
    // Pairs with the fence of `set`, and with `is_wanted`.
    fence(Ordering::SeqCst);
    bits
}

/// A bucket's slots that the agent has to read.
#[derive(Debug, Clone, Copy, Default)]
struct Marked {
    bucket: usize,
    /// A bit for each slot.
    slots: u64,
}

/// The agent's way through the marks, one pass after another.
///
/// The first pass reads all buckets, whatever is marked. What a pass has taken and not returned yet is lost with the
/// process: the next agent reads all buckets again.
#[derive(Debug, Default)]
pub struct Passes {
    /// The buckets that the first pass has read.
    read: usize,
    /// The words of groups that are still to be read.
    top: u64,
    /// The word whose groups are read.
    word: usize,
    /// The groups that are still to be read.
    groups: u64,
    /// The next bucket of the group that is read.
    bucket: Option<usize>,
    /// The slots that are still to be read.
    marked: Marked,
    /// The group that the next pass reads, whether it is marked or not.
    watched: usize,
    is_begun: bool,
}

impl Passes {
    /// Returns the state of the next name that has changed. `None` at the end of a pass, which comes whatever others
    /// do: a pass reads each bucket once, and one group twice.
    pub fn next_change<'a>(
        &mut self,
        dirty: Dirty<'a>,
        buckets: usize,
        bucket: impl Fn(usize) -> Bucket<'a>,
        now: u64,
    ) -> Option<Change> {
        loop {
            while let Some(way) = pop(&mut self.marked.slots) {
                let bucket = bucket(self.marked.bucket);
                match bucket.look(way, now) {
                    Ok(None) => {}
                    Ok(Some((change, slots))) => {
                        self.marked.slots &= !slots;
                        return Some(change);
                    }
                    // The next pass looks again.
                    Err(Torn) => bucket.mark_slots(1 << way),
                }
            }
            self.marked = self.next_bucket(dirty, buckets, |index| bucket(index).changed())?;
        }
    }

    /// Takes the marks of the next bucket.
    fn next_bucket<'a>(
        &mut self,
        dirty: Dirty<'a>,
        buckets: usize,
        mask: impl Fn(usize) -> &'a AtomicU64,
    ) -> Option<Marked> {
        if self.read < buckets {
            let bucket = self.read;
            self.read += 1;
            clear(mask(bucket));
            return Some(Marked { bucket, slots: ALL });
        }
        if !self.is_begun {
            self.begin(dirty);
        }
        loop {
            while let Some(bucket) = self.bucket.filter(|&bucket| bucket < buckets) {
                self.bucket = Some(bucket + dirty.group_count());
                let mask = mask(bucket);
                if mask.load(Ordering::Relaxed) != 0 {
                    return Some(Marked { bucket, slots: clear(mask) & ALL });
                }
            }
            if let Some(bit) = pop(&mut self.groups) {
                self.bucket = Some(self.word * BITS + bit);
            } else if let Some(word) = pop(&mut self.top) {
                self.word = word;
                self.groups = clear(&dirty.groups[word]);
            } else {
                self.is_begun = false;
                return None;
            }
        }
    }

    fn begin(&mut self, dirty: Dirty<'_>) {
        self.is_begun = true;
        self.top = clear(dirty.top);
        // A process that was killed after it marked a slot, and before the group, is found in time.
        self.bucket = Some(self.watched);
        self.watched = (self.watched + 1) % dirty.group_count();
    }
}

/// Takes the lowest bit.
fn pop(bits: &mut u64) -> Option<usize> {
    let bit = (*bits != 0).then(|| bits.trailing_zeros() as usize)?;
    *bits &= *bits - 1;
    Some(bit)
}
