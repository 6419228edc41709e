//! Keys: a fingerprint of protocol version and session id.
//!
//! # The hash
//!
//! Version, length and id, padded with zeros, are five words of 64 bits. Two multilinear hashes go over them: each is a
//! secret constant plus the sum of secret factors times the words, modulo 2^128, of which the upper half counts.
//! Such a family is strongly universal (Lemire and Kaser, "Strongly universal string hashing is fast", theorem 3.1):
//! the hashes of two different inputs are independent of each other, and each is uniform. So two inputs
//! have one hash with a probability of 2^-64, and both hashes with one of 2^-128.
//!
//! A pair of hashes `(a, b)` becomes the key `(h, b ^ h >> 32)` with `h = a * (b | 1)`. Each pair gives another key,
//! since `b | 1` is odd, so nothing that was proven is lost. The product is there because a sum is too regular for
//! an index that divides hashes by their upper bits: ids that count up make a progression, which for one secret in fifty
//! comes back to the same part again and again. A product of two progressions does not, as `cache::security` counts.
//!
//! # What the proof asks for
//!
//! - All inputs have the same number of words. They have, and the length is in the first one, so that
//!   different versions, lengths or ids are different words.
//! - The secrets are uniform and independent. They come from SipHash-1-3, as the standard library has it, under a key
//!   from the system's randomness: that is as good for whoever cannot break SipHash.
//! - The inputs are chosen without knowledge of the secrets. Nothing that a program is told depends on a key:
//!   flush and eviction go by expiry or last use, then by the order of stores; lists of sessions are sorted by address
//!   (`takeover::context::listing`); figures are sums over all shards; and a removal finds a session or none.
//!
//! The cost that is promised is an expected one, over all secrets. A single lookup may be slower by some cells of an index.
//! That time is all that the hash lets anybody see, and whoever could measure it for many ids, through a handshake, would
//! learn something about the secrets, which SipHash would not have given away. The library does not claim that
//! this is impossible. It would yield ids that are searched for slowly, and no session: ids of stored sessions are made by
//! the server, from its own randomness.
//!
//! (Rejected: SipHash-1-3 of 128 bits, which takes 239 instructions; secrets for each context, which would be a fifth of
//! what an idle context may cost; hashes of four bytes of the id, as libssl has them, by which anybody can make ids
//! collide.)

use std::hash::{BuildHasher, RandomState};

// Not a model checker's: the secrets are made before a model begins.
use once_cell::race::OnceBox;

use super::expiry::Expiry;
use super::place::{Place, SHARDS};

/// The longest session id of TLS.
const MOST_ID: usize = 32;

/// Version and length, and the id.
const WORDS: usize = 1 + MOST_ID / size_of::<u64>();

/// The key of a session: 128 bits of a keyed hash over version, id length and id.
///
/// The fingerprint stands for the id itself. Two different ids meet with a probability of 2^-128 a
/// pair, which nobody can raise without the secrets; in return a key is 16 bytes instead of 35, needs
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

/// A multilinear hash, by its secrets.
#[derive(Debug)]
struct Multilinear {
    constant: u128,
    factors: [u128; WORDS],
}

impl Multilinear {
    fn from_words(mut word: impl FnMut() -> u64) -> Self {
        let mut secret = || u128::from(word()) | u128::from(word()) << 64;
        Self { constant: secret(), factors: std::array::from_fn(|_| secret()) }
    }

    #[inline]
    fn hash(&self, words: &[u64; WORDS]) -> u64 {
        let mut sum = self.constant;
        for (factor, &word) in self.factors.iter().zip(words) {
            sum = sum.wrapping_add(factor.wrapping_mul(u128::from(word)));
        }
        (sum >> 64) as u64
    }
}

/// The secrets of both hashes, from which keys are made.
#[derive(Debug)]
struct Secrets([Multilinear; 2]);

impl Secrets {
    /// From the system's randomness.
    fn random() -> Self {
        let random = RandomState::new();
        let mut numbers = 0..;
        Self::from_words(|| random.hash_one(numbers.next().unwrap_or(u64::MAX)))
    }

    fn from_words(mut word: impl FnMut() -> u64) -> Self {
        Self(std::array::from_fn(|_| Multilinear::from_words(&mut word)))
    }

    fn key(&self, version: i32, id: &[u8]) -> Key {
        match id.first_chunk() {
            Some(whole) => self.key_of_padded(version, MOST_ID, whole),
            None => {
                let mut padded = [0; MOST_ID];
                padded[..id.len()].copy_from_slice(id);
                self.key_of_padded(version, id.len(), &padded)
            }
        }
    }

    #[inline]
    fn key_of_padded(&self, version: i32, length: usize, id: &[u8; MOST_ID]) -> Key {
        let word = |at: usize| {
            u64::from_le_bytes(std::array::from_fn(|byte| id[at * size_of::<u64>() + byte]))
        };
        let first = u64::from(version as u32) | (length as u64) << 32;
        let words = [first, word(0), word(1), word(2), word(3)];
        let [a, b] = [0, 1].map(|number| self.0[number].hash(&words));
        let hash = a.wrapping_mul(b | 1);
        Key { hash, rest: b ^ hash >> 32 }
    }
}

/// Makes keys under the random secrets of this process, so that nobody outside can choose ids that collide.
#[derive(Debug, Clone, Copy)]
pub struct KeyMaker {
    secrets: &'static Secrets,
}

impl KeyMaker {
    /// `None`: out of memory.
    pub fn new() -> Option<Self> {
        static SECRETS: OnceBox<[Secrets; 1]> = OnceBox::new();
        let made = SECRETS.get_or_try_init(|| {
            let mut secrets = Vec::new();
            secrets.try_reserve_exact(1).map_err(drop)?;
            secrets.push(Secrets::random());
            secrets.into_boxed_slice().try_into().map_err(drop)
        });
        let [secrets] = made.ok()?;
        Some(Self { secrets })
    }

    /// Under secrets of its own, as another process has them.
    #[cfg(test)]
    pub(super) fn of_another_process() -> Self {
        Self { secrets: Box::leak(Box::new(Secrets::random())) }
    }

    /// The key of a session: its protocol version and the whole of its id, of at most 32 bytes.
    #[inline]
    pub fn key(&self, version: i32, id: &[u8]) -> Key {
        self.secrets.key(version, id)
    }

    /// The hash of a second. It is universal as well, because a server chooses the timeouts that its clients store.
    #[inline]
    pub(super) fn hash_of(&self, expiry: Expiry) -> u64 {
        let Secrets([Multilinear { constant, factors: [factor, ..] }, _]) = self.secrets;
        let sum = constant.wrapping_add(factor.wrapping_mul(u128::from(expiry.seconds() as u64)));
        let upper = (sum >> 64) as u64;
        // Seconds that follow each other are as regular as can be. This keeps different sums different.
        (upper ^ upper >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same numbers in each run: what is counted below never depends on luck.
    fn numbers(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }
    }

    fn maker(seed: u64) -> Secrets {
        Secrets::from_words(numbers(seed))
    }

    /// Little-endian digits of 16 bits, as many as 256 bits have.
    type Big = [u32; 16];

    fn big(number: u128) -> Big {
        std::array::from_fn(
            |digit| if digit < 8 { (number >> (digit * 16)) as u32 & 0xffff } else { 0 },
        )
    }

    fn add(one: Big, other: Big) -> Big {
        let mut carry = 0;
        std::array::from_fn(|digit| {
            carry += one[digit] + other[digit];
            let low = carry & 0xffff;
            carry >>= 16;
            low
        })
    }

    /// As on paper: each digit by each.
    fn multiply(one: Big, other: Big) -> Big {
        let mut sum = [0; 16];
        for (at, digit) in one.into_iter().enumerate() {
            for (up, times) in other.into_iter().enumerate().filter(|(up, _)| at + up < 15) {
                let product = digit * times;
                let mut shifted = [0; 16];
                shifted[at + up] = product & 0xffff;
                shifted[at + up + 1] = product >> 16;
                sum = add(sum, shifted);
            }
        }
        sum
    }

    /// The key by the book, from the numbers of which the maker was made.
    fn reference(seed: u64, version: i32, id: &[u8]) -> Key {
        let mut word = numbers(seed);
        let [a, b] = [(); 2].map(|()| {
            let mut secret = || {
                let low = word();
                big(u128::from(low) | u128::from(word()) << 64)
            };
            let mut sum = secret();
            let first = i128::from(version as u32) + ((id.len() as i128) << 32);
            sum = add(sum, multiply(secret(), big(first as u128)));
            for from in (0..32).step_by(8) {
                let byte = |at: usize| u128::from(id.get(from + at).copied().unwrap_or(0));
                let word = (0..8).fold(0, |word, at| word | byte(at) << (8 * at));
                sum = add(sum, multiply(secret(), big(word)));
            }
            (4..8).fold(0, |half, digit| half | u64::from(sum[digit]) << (16 * (digit - 4)))
        });
        let product = multiply(big(u128::from(a)), big(u128::from(b | 1)));
        let hash = (0..4).fold(0, |hash, digit| hash | u64::from(product[digit]) << (16 * digit));
        Key { hash, rest: b ^ hash >> 32 }
    }

    /// C4: the key of each length, under many secrets, is that of arithmetic with digits.
    #[test]
    fn c4_keys_are_those_of_slow_arithmetic() {
        let mut random = numbers(9);
        for seed in 0..if cfg!(miri) { 1 } else { 40 } {
            let maker = maker(seed);
            for length in 0..=MOST_ID {
                let bytes: [u8; MOST_ID] = match seed {
                    0 => [0; MOST_ID],
                    1 => [0xff; MOST_ID],
                    _ => std::array::from_fn(|_| random() as u8),
                };
                for version in [0x303, 0x304, 0, -1, i32::MIN, random() as i32] {
                    let id = &bytes[..length];
                    assert_eq!(maker.key(version, id), reference(seed, version, id), "{id:?}");
                }
            }
        }
    }

    /// C4: known answers, which Python's integers have given.
    #[test]
    fn c4_known_answers() {
        let counting: [u8; MOST_ID] = std::array::from_fn(|byte| byte as u8);
        for (version, id, key) in [
            (0x303, &[][..], "Key(0029117b2ad2a7875065f30ded0b22f0)"),
            (0x304, &counting, "Key(52dd6b995ea5cdebd04c8a113dacf649)"),
            (0x303, &[0xff; MOST_ID], "Key(2bbed31c3fe67610fba3497eb1fce966)"),
            (i32::MIN, &[0; 8], "Key(a22e72d1fc0b048e863a38cf67aeb404)"),
            (0x303, b"abc", "Key(205f183f90534be89ffe3fbd363cbefe)"),
        ] {
            assert_eq!(format!("{:?}", maker(1).key(version, id)), key);
        }
    }

    /// C4: over many secrets, the keys of two inputs are independent, whatever little they differ in: each pair of
    /// values of some bits comes as often as any other.
    #[test]
    #[cfg_attr(miri, ignore = "many secrets")]
    fn c4_the_keys_of_two_ids_are_independent() {
        const SECRETS: u64 = 64 * 256;
        let zeros = [0; MOST_ID];
        let changed = |byte: usize, bit: u32| {
            let mut id = zeros;
            id[byte] ^= 1 << bit;
            id
        };
        let mut others =
            vec![(0x304, zeros.to_vec()), (0x303, vec![]), (0x303, zeros[..31].to_vec())];
        for byte in [0, 7, 8, 15, 16, 23, 24, 31] {
            others.extend([0, 7].map(|bit| (0x303, changed(byte, bit).to_vec())));
        }
        for (version, other) in others {
            // Four bits of each: the index begins at the uppermost of one half, and the lowest of the other are the shard.
            let mut seen = [[0u32; 256]; 4];
            for seed in 0..SECRETS {
                let maker = maker(seed << 8 | 1);
                let (one, other) = (maker.key(0x303, &zeros), maker.key(version, &other));
                let pair = |one: u64, other: u64| (one & 15 | (other & 15) << 4) as usize;
                seen[0][pair(one.hash >> 60, other.hash >> 60)] += 1;
                seen[1][pair(one.hash, other.hash)] += 1;
                seen[2][pair(one.rest, other.rest)] += 1;
                // The halves of a key, too, are independent.
                seen[3][pair((one.hash ^ other.hash) >> 60, one.rest ^ other.rest)] += 1;
            }
            for seen in seen {
                // Pearson's sum for 255 degrees of freedom, of which one in 10^9 is above 400.
                let sum: f64 =
                    seen.iter().map(|&seen| (f64::from(seen) - 64.0).powi(2) / 64.0).sum();
                assert!(sum < 400.0, "{version:x} {other:?}: {sum}");
            }
        }
    }

    /// C4: ids that share a beginning or an end of any length meet in some bits of their keys as often as by chance.
    #[test]
    #[cfg_attr(miri, ignore = "many ids")]
    fn c4_ids_that_share_a_prefix_or_suffix_meet_no_more_often() {
        const IDS: u64 = 4096;
        const BITS: u32 = 16;
        // By chance, and five times its root more.
        let chance = (IDS * (IDS - 1) / 2) as f64 / f64::from(1 << BITS);
        let most = chance + 5.0 * chance.sqrt();
        for from in 0..=MOST_ID - 8 {
            for (seed, spread) in [(1, false), (2, true)] {
                let (maker, mut random) = (maker(seed + from as u64), numbers(seed));
                let keys = (0..IDS).map(|number| {
                    let mut id = [0x5a; MOST_ID];
                    let number = if spread { random() } else { number };
                    id[from..from + 8].copy_from_slice(&number.to_be_bytes());
                    maker.key(0x303, &id)
                });
                let keys: Vec<Key> = keys.collect();
                let halves: [fn(&Key) -> u64; 3] = [
                    |key| key.hash >> (64 - BITS),
                    |key| key.hash & ((1 << BITS) - 1),
                    |key| key.rest & ((1 << BITS) - 1),
                ];
                for bits in halves {
                    let mut seen = vec![0u64; 1 << BITS];
                    keys.iter().for_each(|key| seen[bits(key) as usize] += 1);
                    let meet: u64 =
                        seen.iter().map(|&seen| seen * seen.saturating_sub(1) / 2).sum();
                    assert!(meet as f64 <= most, "from {from}, {spread}: {meet} of {chance}");
                }
            }
        }
    }
}
