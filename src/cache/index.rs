//! Finding a slot by hash: open addressing over 32-bit cells.
//!
//! A cell is a slot's number and eight bits of its key's hash, so that a lookup reads one cache line here,
//! and a slot only when it is almost certainly the right one. Nothing is taken out: whoever gives a
//! slot up leaves its cell behind, stale, and who finds it sees that the slot has another key or
//! none. So a flush does not come here at all, which would be a cache miss for each session. Stale
//! cells go when the cells are next made anew, from the slots in use.
//!
//! (hashbrown, used before, reads two lines for a lookup and two for a removal. Without it a flush of half
//! of a million sessions takes 0.65 to 0.74 of its time, and a lookup among them 0.68.)

use super::count;

/// Slots that a cell can name.
pub(super) const MOST_SLOTS: u32 = SLOT - 1;

/// The bits of a cell that hold the slot's number plus one; 0 is an empty cell.
const SLOT: u32 = (1 << 24) - 1;

/// Cells that an index has at least.
const LEAST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Index {
    cells: Vec<u32>,
    /// Cells that are not empty.
    used: usize,
}

/// Cells that were made anew elsewhere, to be freed without a lock: malloc may take its time for that.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Retired(#[expect(dead_code, reason = "dropped")] Vec<u32>);

impl Index {
    /// The first slot that was inserted under this hash and is the one that is looked for.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = self.home(hash)?;
        loop {
            count::touch();
            let cell = self.cells[at];
            if cell == 0 {
                return None;
            }
            if cell & !SLOT == tag && is_it((cell & SLOT) - 1) {
                return Some((cell & SLOT) - 1);
            }
            at = self.after(at);
        }
    }

    /// Makes sure that the next [`Index::insert`] needs no memory. `live` are the slots in use with
    /// their hashes, of which there are `count`. Returns cells that are used no more.
    pub(super) fn reserve(
        &mut self,
        count: usize,
        live: impl Iterator<Item = (u32, u64)>,
    ) -> Option<Retired> {
        // A sixth stays empty, or searches would get long.
        if self.used < self.cells.len() - self.cells.len() / 6 {
            return Some(Retired::default());
        }
        // Room for half as many again before the cells are made anew.
        let size = (count + count * 4 / 5).max(LEAST);
        let mut cells = Vec::new();
        cells.try_reserve_exact(size).ok()?;
        cells.resize(size, 0);
        let retired = Retired(std::mem::replace(&mut self.cells, cells));
        self.used = 0;
        live.for_each(|(slot, hash)| self.insert(hash, slot));
        Some(retired)
    }

    /// Inserts a slot; memory was reserved.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        let Some(mut at) = self.home(hash) else { unreachable!("cells were reserved") };
        count::touch();
        while self.cells[at] != 0 {
            count::touch();
            at = self.after(at);
        }
        self.cells[at] = tag(hash) | (slot + 1);
        self.used += 1;
    }

    /// The cell at which the search for a hash begins: the hash scaled to the number of cells, which need not be
    /// a power of two.
    fn home(&self, hash: u64) -> Option<usize> {
        let home = ((u128::from(hash) * self.cells.len() as u128) >> 64) as usize;
        (home < self.cells.len()).then_some(home)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.cells.len() { 0 } else { at + 1 }
    }
}

/// From bits that decide neither the shard nor the home.
fn tag(hash: u64) -> u32 {
    (hash as u32) << 24
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Miri interprets each step.
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..Default::default() })]

        /// Slots come, go and come again under other hashes, of which there are so few that searches meet:
        /// those in use are found, and no others.
        #[test]
        fn finds_what_is_in_use(steps in prop::collection::vec((0..40u32, 0..30u64, any::<bool>()), 0..400)) {
            let mut index = Index::default();
            let mut in_use = HashMap::new();
            for (slot, hash, keep) in steps {
                let hash = hash.wrapping_mul(0x0842_1084_2108_4211);
                in_use.remove(&slot);
                if keep {
                    let live = in_use.iter().map(|(&slot, &hash)| (slot, hash));
                    prop_assert!(index.reserve(in_use.len(), live).is_some());
                    index.insert(hash, slot);
                    in_use.insert(slot, hash);
                }
                for slot in 0..40 {
                    for hash in [hash, in_use.get(&slot).copied().unwrap_or(hash)] {
                        let is_it = |found| found == slot && in_use.get(&found) == Some(&hash);
                        let expected = (in_use.get(&slot) == Some(&hash)).then_some(slot);
                        prop_assert_eq!(index.find(hash, is_it), expected);
                    }
                }
                prop_assert!(index.used < index.cells.len().max(1));
            }
        }
    }
}
