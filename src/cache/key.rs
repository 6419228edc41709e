//! Keys: a fingerprint of protocol version and session id.

use std::hash::{BuildHasher, Hasher, RandomState};

use siphasher::sip128::SipHasher13;

use super::place::{Place, SHARDS};

/// The longest session id of TLS.
const MOST_ID: usize = 32;

/// The key of a session: 128 bits of a keyed hash over version, id length and id.
///
/// The fingerprint stands for the id itself. Two different ids meet with a probability of 2^-128 a
/// pair, which nobody can raise without the seed; in return a key is 16 bytes instead of 35, needs
/// no further hashing, and how long a comparison takes says nothing about how much of an id matches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    hash: u64,
    rest: u64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:016x}{:016x})", self.hash, self.rest)
    }
}

impl Key {
    /// For the index of a shard.
    pub(super) const fn hash(self) -> u64 {
        self.hash
    }

    /// The shard that this key belongs to, from bits that the index does not use.
    pub const fn shard(self) -> usize {
        (self.rest % SHARDS as u64) as usize
    }

    pub(super) const fn place(self, slot: u32) -> Place {
        Place::new(self.shard(), slot)
    }
}

/// Makes keys under a random seed of its own, so that nobody outside can choose ids that collide.
#[derive(Debug, Clone, Copy)]
pub struct KeyMaker {
    seed: (u64, u64),
}

impl Default for KeyMaker {
    /// A new seed from the system's randomness.
    fn default() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self { seed: (random(), random()) }
    }
}

impl KeyMaker {
    /// The key of a session: its protocol version and the whole of its id, of at most 32 bytes.
    pub fn key(&self, version: i32, id: &[u8]) -> Key {
        // One piece of bytes is hashed about twice as fast as three.
        let mut bytes = [0; 5 + MOST_ID];
        let length = id.len().min(MOST_ID);
        bytes[..4].copy_from_slice(&version.to_le_bytes());
        bytes[4] = length as u8;
        bytes[5..5 + length].copy_from_slice(&id[..length]);
        let hasher = SipHasher13::new_with_keys(self.seed.0, self.seed.1);
        let hash = hasher.hash(&bytes[..5 + length]);
        Key { hash: hash.h1, rest: hash.h2 }
    }
}
