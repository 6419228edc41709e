//! One slot: its words, and the transitions of its state.

use super::record::{Name, RECORD_WORDS, Record};
use super::sync::{AtomicU64, Ordering, fence};

/// The words of a slot.
pub const SLOT_WORDS: usize = MARK + 1;

// The words.
const STATE: usize = 0;
const NAME: usize = 1;
const EXPIRY: usize = 3;
const NUMBER: usize = 4;
const LENGTH: usize = 5;
const RECORD: usize = 6;
/// The bucket's: its mark, in the first slot; the mask of its changed slots, in the second; the second of its last kill
/// without a record, in the third; unused in the others.
pub(super) const MARK: usize = RECORD + RECORD_WORDS;

const STATE_BITS: u64 = 0b11;

/// The state of a slot, in the lowest bits of its first word. The others are its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never used.
    Empty = 0,
    /// A process writes it, or was killed while it did.
    Busy = 1,
    /// It holds a record.
    Live = 2,
    /// Its record was taken or forgotten.
    Dead = 3,
}

fn state_of(word: u64) -> State {
    match word & STATE_BITS {
        0 => State::Empty,
        1 => State::Busy,
        2 => State::Live,
        _ => State::Dead,
    }
}

fn with_state(word: u64, state: State) -> u64 {
    word & !STATE_BITS | state as u64
}

/// The first words of a slot, as one process has seen them. They fit together if the slot's state word is still the
/// same afterwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    word: u64,
    pub(super) name: Name,
    pub(super) expiry: u64,
    /// The number of its put among all puts.
    pub(super) number: u64,
}

impl Head {
    /// The state at this time. What has expired, and what was published before the bucket's mark, is as good as empty.
    pub(super) fn state(&self, now: u64, mark: u64) -> State {
        match state_of(self.word) {
            State::Live if self.expiry <= now || self.number < mark => State::Empty,
            State::Dead if self.expiry <= now => State::Empty,
            state => state,
        }
    }
}

/// The contents that a slot is to hold.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    pub(super) name: Name,
    pub(super) expiry: u64,
    pub(super) number: u64,
    pub(super) record: &'a [u8],
}

/// The words of a slot, and its place in the bucket.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) words: &'a [AtomicU64],
    pub(super) way: usize,
}

impl<'a> Slot<'a> {
    pub(super) fn head(&self) -> Head {
        // Pairs with the publication: the other words are those of this generation, or later ones.
        let word = self.words[STATE].load(Ordering::Acquire);
        let read = |at: usize| self.words[at].load(Ordering::Relaxed);
        match state_of(word) {
            State::Empty | State::Busy => Head { word, name: Name([0; 2]), expiry: 0, number: 0 },
            State::Live | State::Dead => Head {
                word,
                name: Name([read(NAME), read(NAME + 1)]),
                expiry: read(EXPIRY),
                number: read(NUMBER),
            },
        }
    }

    /// Copies the record. The copy may be torn unless the slot is afterwards [unchanged](Self::is_unchanged).
    pub(super) fn copy(&self) -> Record {
        let words = self.words[RECORD..MARK].iter().map(|word| word.load(Ordering::Relaxed));
        Record::copy(self.words[LENGTH].load(Ordering::Relaxed), words)
    }

    /// Returns whether everything that was read since the head belongs to one record.
    pub(super) fn is_unchanged(&self, head: &Head) -> bool {
        // Pairs with the fence of a write: who has read a word of a later generation sees its claim.
        fence(Ordering::Acquire);
        self.words[STATE].load(Ordering::Relaxed) == head.word
    }

    /// From live to dead, in one step. Returns whether this call did it: of several, one does. If so, everything that was
    /// read since the head belongs to one record.
    pub(super) fn kill(&self, head: &Head) -> bool {
        let dead = with_state(head.word, State::Dead);
        // Release, so that what was read before cannot come from a later generation. Sequentially consistent, so that
        // whoever sees no agent afterwards has killed it before there was one.
        self.change(head.word, dead, Ordering::SeqCst)
    }

    /// Takes the slot for writing, unless it has changed since the head was read. It stays busy until it is published.
    pub(super) fn claim(&self, head: &Head) -> Option<Claim<'a>> {
        let next = (head.word | STATE_BITS).wrapping_add(1);
        let word = with_state(next, State::Busy);
        // Acquire, so that the former writer's words come before these.
        self.change(head.word, word, Ordering::Acquire).then_some(Claim { slot: *self, word })
    }

    fn change(&self, from: u64, to: u64, order: Ordering) -> bool {
        self.words[STATE].compare_exchange(from, to, order, Ordering::Relaxed).is_ok()
    }
}

/// A busy slot that this call alone may write.
pub(super) struct Claim<'a> {
    slot: Slot<'a>,
    word: u64,
}

impl Claim<'_> {
    /// Writes the contents, and ends the claim.
    pub(super) fn publish(self, contents: Contents<'_>, state: State) {
        // Pairs with the fence of a reader: who reads one of these words sees that the slot is busy.
        fence(Ordering::Release);
        let write = |at: usize, word: u64| self.slot.words[at].store(word, Ordering::Relaxed);
        write(NAME, contents.name.0[0]);
        write(NAME + 1, contents.name.0[1]);
        write(EXPIRY, contents.expiry);
        write(NUMBER, contents.number);
        write(LENGTH, contents.record.len() as u64);
        for (to, bytes) in self.slot.words[RECORD..MARK].iter().zip(contents.record.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            to.store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
        // It fails only where somebody else has written the word, who keeps no rules. Sequentially consistent as a kill.
        let _ = self.slot.change(self.word, with_state(self.word, state), Ordering::SeqCst);
    }
}
