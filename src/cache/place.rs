//! The place of a session: its shard and its slot there, in 32 bits.

/// Shards of a cache.
///
/// A thread holds a shard's lock for a thousandth of a handshake at most, so sixteen suffice for lookups not to meet. Each has
/// tables of its own, of which the last page is half empty: with 64, each of 20,000 sessions takes eight bytes more.
/// (Two show a model all there is.)
pub(super) const SHARDS: usize = if cfg!(sslsweep_model) { 2 } else { 16 };

const SHARD_BITS: u32 = SHARDS.trailing_zeros();

/// A shard and a slot; half the size of a pointer, and safe to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(u32);

impl Place {
    /// No place: the end of a list.
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) const fn new(shard: usize, slot: u32) -> Self {
        Self(slot << SHARD_BITS | shard as u32)
    }

    pub(super) const fn shard(self) -> usize {
        (self.0 % SHARDS as u32) as usize
    }

    pub(super) const fn slot(self) -> u32 {
        self.0 >> SHARD_BITS
    }

    pub(super) fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}
