//! Finding a slot by hash, of a session or of a second's bucket: extendible hashing over blocks of 32-bit cells.
//!
//! A directory leads from the upper bits of a hash to a block. A block is searched cell by cell, from the cell that other
//! bits name. A cell is a slot's number and eight bits of its key's hash, so that a lookup reads a slot only when it is
//! almost certainly the right one. A full block is split in two, so a store moves the cells of one block at most. Only the
//! directory, a small part of all, is copied when it doubles. (Rejected: one table that is replaced by a larger one. Under
//! the locks of a store, that moves all cells of a shard, and takes their memory twice.)
//!
//! Nothing is taken out: whoever gives a slot up leaves its cell behind, stale, and who finds it sees that the slot has
//! another key or none. So a flush does not come here at all, which would be a cache miss for each session.
//! Stale cells go when their block is full. (A stale cell of a slot that has a key of the same block and the same eight
//! bits again is taken for good. It leads to the same slot.)

use super::count;
use super::slots::grow;

/// Slots that a cell can name.
pub(super) const MOST_SLOTS: u32 = SLOT - 1;

/// The bits of a cell that hold the slot's number plus one; 0 is an empty cell.
const SLOT: u32 = (1 << 24) - 1;

/// Cells of a block.
const CELLS: usize = 64;

/// Cells that are used at most: searches get long without some that are empty.
const FULL: usize = CELLS * 7 / 8;

/// Cells of a full block from which on it is split, if they are not stale. Fewer are left where they are: a block has some
/// room then.
const MANY: usize = FULL * 3 / 4;

/// Bits of a hash that lead to a block at most. Blocks that share more are a sign of ids that were chosen by somebody who
/// knows the secrets.
const MOST_BITS: u32 = 22;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// The blocks by the upper bits of a hash. A block that was split less often than others is here several times.
    directory: Vec<u32>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    cells: [u32; CELLS],
    /// Cells that are not empty.
    used: u8,
    /// Upper bits of a hash that lead here.
    bits: u8,
}

/// The empty cell at which a search has ended, valid until something is inserted or reserved again.
#[derive(Debug)]
pub(super) struct Vacancy {
    block: u32,
    cell: u32,
    tag: u32,
}

impl Index {
    /// The first slot that was inserted under this hash and is the one that is looked for.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.search(hash, is_it).ok()
    }

    /// The same, or else a vacancy for it. `Err(None)`: out of memory. `live` tells the hash of a slot in use.
    #[inline]
    pub(super) fn find_or_reserve(
        &mut self,
        hash: u64,
        is_it: impl Fn(u32) -> bool,
        live: impl Fn(u32) -> Option<u64>,
    ) -> Result<u32, Option<Vacancy>> {
        loop {
            match self.search(hash, &is_it) {
                Err(Some(vacancy)) if !self.is_full(vacancy.block as usize) => {
                    return Err(Some(vacancy));
                }
                Err(_) => self.make_room(hash, &live).ok_or(None)?,
                Ok(slot) => return Ok(slot),
            }
        }
    }

    /// The slot, or else where the search has ended.
    #[inline]
    fn search(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Result<u32, Option<Vacancy>> {
        let block = self.block(hash).ok_or(None)?;
        let Block { cells, .. } = &self.blocks[block];
        let tag = tag(hash);
        let mut cell = home(hash);
        loop {
            count::touch();
            let found = cells[cell];
            if found == 0 {
                return Err(Some(Vacancy { block: block as u32, cell: cell as u32, tag }));
            }
            if (found ^ tag) <= SLOT && is_it((found & SLOT) - 1) {
                return Ok((found & SLOT) - 1);
            }
            cell = (cell + 1) % CELLS;
        }
    }

    /// Inserts a slot where the search for its hash has ended.
    #[inline]
    pub(super) fn insert(&mut self, vacancy: Vacancy, slot: u32) {
        count::touch();
        let block = &mut self.blocks[vacancy.block as usize];
        block.cells[vacancy.cell as usize % CELLS] = vacancy.tag | (slot + 1);
        block.used += 1;
    }

    #[inline]
    fn block(&self, hash: u64) -> Option<usize> {
        let upper = ((u128::from(hash) * self.directory.len() as u128) >> 64) as usize;
        self.directory.get(upper).map(|&block| block as usize)
    }

    #[inline]
    fn is_full(&self, block: usize) -> bool {
        usize::from(self.blocks[block].used) >= FULL
    }

    /// Throws stale cells out of the full block of this hash, and splits it if many are left.
    #[inline(never)]
    fn make_room(&mut self, hash: u64, live: &impl Fn(u32) -> Option<u64>) -> Option<()> {
        let Some(block) = self.block(hash) else {
            self.directory.try_reserve_exact(1).ok()?;
            self.add_block(0)?;
            self.directory.push(0);
            return Some(());
        };
        let bits = u32::from(self.blocks[block].bits);
        let upper_bits = !(u64::MAX >> bits);
        let mut halves = [Block::new(bits), Block::new(bits)];
        for &cell in self.blocks[block].cells.iter().filter(|&&cell| cell != 0) {
            count::touch();
            match live((cell & SLOT) - 1) {
                Some(found) if cell & !SLOT == tag(found) && (found ^ hash) & upper_bits == 0 => {
                    halves[(found >> (63 - bits) & 1) as usize].put(found, cell);
                }
                _ => {}
            }
        }
        let [mut lower, upper] = halves;
        let used = usize::from(lower.used + upper.used);
        let other = if used > MANY { self.split(hash, block) } else { None };
        if let Some(other) = other {
            lower.bits += 1;
            self.blocks[other] = Block { bits: lower.bits, ..upper };
        } else if used < FULL {
            let cells = upper.cells.iter().filter(|&&cell| cell != 0);
            cells.for_each(|&cell| {
                if let Some(hash) = live((cell & SLOT) - 1) {
                    lower.put(hash, cell);
                }
            });
        } else {
            return None;
        }
        self.blocks[block] = lower;
        Some(())
    }

    /// Gives the upper half of a block's hashes to a new block.
    fn split(&mut self, hash: u64, block: usize) -> Option<usize> {
        let bits = u32::from(self.blocks[block].bits);
        let length = self.directory.len();
        if length >> bits == 1 {
            if bits == MOST_BITS {
                return None;
            }
            self.directory.try_reserve_exact(length).ok()?;
            self.directory.resize(length * 2, 0);
            (0..length * 2).rev().for_each(|at| self.directory[at] = self.directory[at / 2]);
            // As many places as it has cache lines.
            (0..length * 2).step_by(16).for_each(|_| count::touch());
        }
        let other = self.add_block(bits)?;
        let share = self.directory.len() >> bits;
        let from = (hash.rotate_left(bits) as usize & ((1 << bits) - 1)) * share;
        self.directory[from + share / 2..from + share].fill(other as u32);
        Some(other)
    }

    /// A new block for hashes that share this many upper bits.
    fn add_block(&mut self, bits: u32) -> Option<usize> {
        grow(&mut self.blocks, 1)?;
        self.blocks.push(Block::new(bits));
        Some(self.blocks.len() - 1)
    }
}

impl Block {
    fn new(bits: u32) -> Self {
        Self { cells: [0; CELLS], used: 0, bits: bits as u8 }
    }

    #[inline]
    fn put(&mut self, hash: u64, content: u32) {
        let mut cell = home(hash);
        while self.cells[cell] != 0 {
            cell = (cell + 1) % CELLS;
        }
        self.cells[cell] = content;
        self.used += 1;
    }
}

/// The cell of a block at which the search for a hash begins.
fn home(hash: u64) -> usize {
    (hash >> 24) as usize % CELLS
}

/// From bits that decide neither the home nor, in a cache of any size, the block.
fn tag(hash: u64) -> u32 {
    (hash >> 8) as u32 & !SLOT
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
        fn finds_what_is_in_use(steps in prop::collection::vec((0..200u32, 0..150u64, any::<bool>()), 0..900)) {
            let mut index = Index::default();
            let mut in_use = HashMap::new();
            for (slot, hash, keep) in steps {
                let hash = hash.wrapping_mul(0x0842_1084_2108_4211);
                in_use.remove(&slot);
                if keep {
                    let live = |slot| in_use.get(&slot).copied();
                    let Err(Some(vacancy)) = index.find_or_reserve(hash, |_| false, live) else {
                        panic!("nothing is it, and there is room");
                    };
                    index.insert(vacancy, slot);
                    in_use.insert(slot, hash);
                }
                for slot in [slot, slot / 2] {
                    for hash in [hash, in_use.get(&slot).copied().unwrap_or(hash)] {
                        let is_it = |found| found == slot && in_use.get(&found) == Some(&hash);
                        let expected = (in_use.get(&slot) == Some(&hash)).then_some(slot);
                        prop_assert_eq!(index.find(hash, is_it), expected);
                    }
                }
            }
            for (&slot, &hash) in &in_use {
                let is_it = |found| found == slot && in_use.get(&found) == Some(&hash);
                prop_assert_eq!(index.find(hash, is_it), Some(slot));
            }
            for block in &index.blocks {
                let used = block.cells.iter().filter(|&&cell| cell != 0).count();
                prop_assert!(used == usize::from(block.used) && used <= FULL);
            }
        }
    }

    /// Hashes that share all bits that could tell them apart are refused in the end, and nothing is lost.
    #[test]
    fn hashes_that_are_alike_are_refused() {
        let mut index = Index::default();
        let stored = (0..200).take_while(|&slot| {
            let vacancy = index.find_or_reserve(7, |_| false, |_| Some(7)).unwrap_err();
            let is_there = vacancy.is_some();
            vacancy.into_iter().for_each(|vacancy| index.insert(vacancy, slot));
            is_there
        });
        let stored = stored.count();
        assert_eq!(stored, FULL);
        assert!((0..stored as u32).all(|slot| index.find(7, |found| found == slot) == Some(slot)));
    }
}
