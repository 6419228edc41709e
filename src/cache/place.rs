//! The place of a session: its shard and its slot there, in 32 bits.

/// Shards of a cache.
///
/// At a million sessions each holds sixteen thousand, so that growing one takes a fraction of a
/// millisecond; and they take four kilobytes, once something is stored. (Two show a model all there is.)
pub(super) const SHARDS: usize = if cfg!(sslsweep_model) { 2 } else { 64 };

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
