//! The figures of one context, or of several together.

use sslsweep_figures::{CURVE, FIGURES, HORIZONS, STEPS, Word, curve_part};

/// The figures of one context, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block([u64; FIGURES]);

impl From<&sslsweep_figures::Block> for Block {
    fn from(block: &sslsweep_figures::Block) -> Block {
        Block(block.read())
    }
}

impl Block {
    /// Nothing at all.
    pub const EMPTY: Block = Block([0; FIGURES]);

    /// One figure.
    pub fn get(&self, word: Word) -> u64 {
        self.0[word as usize]
    }

    /// The numbers of sessions by the time until they expire (`HORIZONS`).
    pub fn curve(&self) -> &[u64] {
        &self.0[Word::Curve as usize..][..CURVE]
    }

    /// The histogram that begins at this word.
    pub fn times(&self, first: Word) -> &[u64] {
        &self.0[first as usize..][..STEPS]
    }

    /// Moves the curve to this second: a context in which nothing happens does not make its curve again. A session
    /// counts as one that expires at the end of its part, so that no session is due too early.
    pub(super) fn age(&mut self, now: u64) {
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

    /// Returns whether nothing has happened here yet.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// The sums of these figures and the other's; of times and states the later, the greater or none.
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
        // Lookups in the program's own cache alone are among the misses.
        let missed = self.get(Word::Misses).saturating_sub(self.get(Word::ExternalMisses));
        let (hits, missed) = (self.get(Word::Hits) as f64, missed as f64);
        (hits + missed > 0.0).then(|| hits / (hits + missed))
    }
}
