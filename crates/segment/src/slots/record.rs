//! Names and records, and the reasons for which a record is refused.

use std::fmt;

/// The words of a record. (A model has one, or there would be too many schedules.)
pub(super) const RECORD_WORDS: usize = if cfg!(sslsweep_model) { 1 } else { 57 };

/// The largest record, in bytes.
pub const ROOM: usize = RECORD_WORDS * 8;

/// The name of a record: 128 bits that the caller spreads evenly, such as a part of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(pub(crate) [u64; 2]);

impl Name {
    /// The name of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let bits = u128::from_be_bytes(bytes);
        Self([(bits >> 64) as u64, bits as u64])
    }

    /// The bytes of which the name was made.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.0[0]) << 64 | u128::from(self.0[1])).to_be_bytes()
    }

    /// Returns which of `buckets` the name belongs to.
    pub fn bucket(self, buckets: usize) -> usize {
        ((u128::from(self.0[0]) * buckets as u128) >> 64) as usize
    }

    /// Returns one of `stripes`, independently of the bucket.
    pub fn stripe(self, stripes: usize) -> usize {
        self.0[1] as usize % stripes
    }
}

/// A private copy of a record.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    bytes: [u8; ROOM],
    length: usize,
}

impl Record {
    /// The bytes that were put.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Copies a record of at most [`ROOM`] bytes, word by word; a longer one is cut.
    pub(super) fn copy(length: u64, words: impl Iterator<Item = u64>) -> Self {
        let length = length.min(ROOM as u64) as usize;
        let mut bytes = [0; ROOM];
        for (to, word) in bytes[..length.next_multiple_of(8)].chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        Self { bytes, length }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Record({} bytes)", self.length)
    }
}

/// The present state of a name whose slot has changed, as the agent tells it to the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// There is a record.
    Live {
        /// Its name.
        name: Name,
        /// Its bytes.
        record: Record,
        /// The second from which on it is not found.
        expiry: u64,
        /// The number of its put in the segment: later ones have higher numbers.
        number: u64,
    },
    /// The name was taken or forgotten.
    Dead {
        /// The name.
        name: Name,
        /// The second from which on the segment does not know about it.
        until: u64,
        /// The record that there was. `None` if it was forgotten before it was put, or had no bytes.
        record: Option<Record>,
    },
}

impl Change {
    /// The name that has changed.
    pub fn name(&self) -> Name {
        match self {
            Self::Live { name, .. } | Self::Dead { name, .. } => *name,
        }
    }
}

/// The reason for which a record was not put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is larger than [`ROOM`].
    TooLarge,
    /// It has expired already.
    Expired,
    /// Its name was taken or forgotten.
    Dead,
    /// All slots of its bucket are dead or busy.
    Full,
    /// Other processes were faster, several times.
    Contended,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLarge => "the record is larger than a slot",
            Self::Expired => "the record has expired",
            Self::Dead => "the record was taken or forgotten",
            Self::Full => "no slot of the bucket can be evicted",
            Self::Contended => "other processes changed the bucket at the same time",
        })
    }
}

impl std::error::Error for Refused {}
