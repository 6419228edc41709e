//! Finding a slot by hash, of a session or of a second's bucket: extendible hashing over rows of 32-bit cells.
//!
//! A directory leads from the upper bits of a hash to a row, which is two lines of memory side by side. All of its cells are
//! compared at once. A cell is a slot's number and ten bits of its key's hash, so that a lookup reads a slot only when it is
//! almost certainly the right one. A full row is split in two by the next bit, so a store moves the cells of one row at most.
//! Only the directory, a small part of all, is copied when it doubles.
//!
//! (Rejected: one table that is replaced by a larger one. Under the locks of a store, that moves all cells of a shard, and
//! takes their memory twice. Blocks of 64 cells, probed from one that the hash names: a search ends after any number of
//! cells, which the processor guesses wrongly, and a split has to ask the slots for their hashes, as cells are moved. Among
//! 20,000 and 100,000 sessions an absent one took a quarter longer to find out; among a million, where each line of memory is a
//! miss, a quarter less. Rows of one line: a store took a tenth longer, and each session a byte more.)
//!
//! The bits of a cell are those that follow the ones that lead to its row, so a split finds the next bit in the cell. Every
//! fourth time that a row is split it asks the slots for more.
//!
//! A flush takes nothing out, as that would be a cache miss for each session: whoever gives a slot up may leave its cell
//! behind, stale, and who finds it sees that the slot has another key or none. Stale cells go when their row is full, once
//! there are more than a few of them. (A stale cell of a slot that has a key of the same row and the same ten bits again is
//! taken for good. It leads to the same slot.)

use super::count;
use super::slots::grow;

/// Slots that a cell can name.
pub(super) const MOST_SLOTS: u32 = SLOT - 1;

/// The bits of a cell that hold the slot's number plus one.
const SLOT: u32 = (1 << SLOT_BITS) - 1;

const SLOT_BITS: u32 = 22;

/// Cells of a row, which with its state are two cache lines.
const CELLS: usize = 31;

/// Cells of a full row from which on it is split, if they are not stale. Fewer are left where they are: the row has some
/// room then.
const MANY: usize = CELLS * 3 / 4;

/// Splits of a row after which its cells have new bits of their hashes.
const STEP: u32 = 4;

/// Bits of a hash that lead to a row at most. Rows that share more are a sign of ids that were chosen by somebody who knows
/// the secrets.
const MOST_BITS: u32 = 22;

#[derive(Debug, Default)]
pub(super) struct Index {
    /// The rows by the upper bits of a hash. A row that was split less often than others is here several times.
    directory: Box<[u32]>,
    rows: Vec<Row>,
    /// Cells in use, stale ones among them.
    used: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Row {
    /// The first ones are in use. The last one is none: in its place are `used` and `bits`.
    cells: [u32; CELLS + 1],
}

/// The room for one more cell at which a search has ended, valid until something is inserted or reserved again.
#[derive(Debug)]
pub(super) struct Vacancy {
    row: u32,
    tag: u32,
}

/// A cell in use, valid until something is inserted, taken or reserved.
#[derive(Debug)]
struct Cell {
    row: u32,
    at: u32,
}

impl Index {
    /// The first slot that was inserted under this hash and is the one that is looked for.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.search(hash, is_it).ok().map(|(slot, _)| slot)
    }

    /// The same; its cell is taken out.
    #[inline]
    pub(super) fn take(&mut self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (slot, Cell { row, at }) = self.search(hash, is_it).ok()?;
        self.rows[row as usize].remove(at as usize);
        self.used -= 1;
        Some(slot)
    }

    /// The same, or else a vacancy for it. `Err(None)`: out of memory. `live` tells the hash of a slot in use, of which there
    /// are `len`.
    #[inline]
    pub(super) fn find_or_reserve(
        &mut self,
        hash: u64,
        is_it: impl Fn(u32) -> bool,
        live: impl Fn(u32) -> Option<u64>,
        len: usize,
    ) -> Result<u32, Option<Vacancy>> {
        loop {
            match self.search(hash, &is_it) {
                Err(Some(vacancy)) if self.rows[vacancy.row as usize].used() < CELLS => {
                    return Err(Some(vacancy));
                }
                Err(_) => self.make_room(hash, &live, len).ok_or(None)?,
                Ok((slot, _)) => return Ok(slot),
            }
        }
    }

    /// The slot and its cell, or else where it would be.
    #[inline(always)]
    fn search(
        &self,
        hash: u64,
        is_it: impl Fn(u32) -> bool,
    ) -> Result<(u32, Cell), Option<Vacancy>> {
        let number = self.row(hash).ok_or(None)?;
        count::touch();
        let row = &self.rows[number];
        let tag = tag(hash, row.bits());
        let mut alike = row.alike(tag);
        while alike != 0 {
            let at = alike.trailing_zeros();
            let slot = (row.cells[at as usize] & SLOT).wrapping_sub(1);
            if is_it(slot) {
                return Ok((slot, Cell { row: number as u32, at }));
            }
            alike &= alike - 1;
        }
        Err(Some(Vacancy { row: number as u32, tag }))
    }

    /// Inserts a slot where the search for its hash has ended.
    #[inline]
    pub(super) fn insert(&mut self, vacancy: Vacancy, slot: u32) {
        count::touch();
        self.rows[vacancy.row as usize].push(vacancy.tag | (slot + 1));
        self.used += 1;
    }

    #[inline]
    fn row(&self, hash: u64) -> Option<usize> {
        let upper = ((u128::from(hash) * self.directory.len() as u128) >> 64) as usize;
        self.directory.get(upper).map(|&row| row as usize)
    }

    /// Splits the full row of this hash, or throws stale cells out of it where there are many.
    #[inline(never)]
    fn make_room(
        &mut self,
        hash: u64,
        live: &impl Fn(u32) -> Option<u64>,
        len: usize,
    ) -> Option<()> {
        let Some(number) = self.row(hash) else {
            let mut directory = Vec::new();
            directory.try_reserve_exact(1).ok()?;
            directory.push(self.add_row(Row::new(0))?);
            self.directory = directory.into_boxed_slice();
            return Some(());
        };
        let row = self.rows[number];
        let (bits, stale) = (row.bits(), self.used.saturating_sub(len));
        let is_cheap = stale <= len / 8 && (bits + 1) % STEP != 0;
        if is_cheap {
            let mut halves = [Row::new(bits + 1), Row::new(bits + 1)];
            for &cell in row.in_use() {
                halves[(cell >> (31 - bits % STEP) & 1) as usize].push(cell);
            }
            if self.split(hash, number, halves).is_some() {
                return Some(());
            }
            // Without memory a stale cell has to make room.
        }
        let mut kept = Row::new(bits);
        let mut halves = [Row::new(bits + 1), Row::new(bits + 1)];
        for &cell in row.in_use() {
            count::touch();
            let slot = (cell & SLOT) - 1;
            let is_here = |found: &u64| {
                cell & !SLOT == tag(*found, bits) && (found ^ hash) & !(u64::MAX >> bits) == 0
            };
            if let Some(found) = live(slot).filter(is_here) {
                kept.push(cell);
                let half = &mut halves[(found >> (63 - bits) & 1) as usize];
                half.push(tag(found, bits + 1) | (slot + 1));
            }
        }
        if !is_cheap && kept.used() > MANY && self.split(hash, number, halves).is_some() {
            self.used -= row.used() - kept.used();
            return Some(());
        }
        self.used -= row.used() - kept.used();
        self.rows[number] = kept;
        (kept.used() < CELLS).then_some(())
    }

    /// Puts two halves in the place of a row.
    fn split(&mut self, hash: u64, number: usize, [lower, upper]: [Row; 2]) -> Option<()> {
        let bits = self.rows[number].bits();
        let length = self.directory.len();
        if length >> bits == 1 {
            if bits == MOST_BITS {
                return None;
            }
            let mut directory = Vec::new();
            directory.try_reserve_exact(length * 2).ok()?;
            directory.extend(self.directory.iter().flat_map(|&row| [row; 2]));
            self.directory = directory.into_boxed_slice();
            // As many places as it has cache lines.
            (0..length * 2).step_by(16).for_each(|_| count::touch());
        }
        let other = self.add_row(upper)?;
        self.rows[number] = lower;
        let share = self.directory.len() >> bits;
        let from = (hash.rotate_left(bits) as usize & ((1 << bits) - 1)) * share;
        self.directory[from + share / 2..from + share].fill(other);
        Some(())
    }

    fn add_row(&mut self, row: Row) -> Option<u32> {
        grow(&mut self.rows, 1)?;
        self.rows.push(row);
        Some(self.rows.len() as u32 - 1)
    }
}

impl Row {
    /// An empty row for hashes that share this many upper bits.
    fn new(bits: u32) -> Self {
        let mut cells = [0; CELLS + 1];
        cells[CELLS] = bits << 16;
        Self { cells }
    }

    /// The number of cells in use.
    #[inline]
    fn used(&self) -> usize {
        self.cells[CELLS] as usize % (CELLS + 1)
    }

    /// The number of upper bits of a hash that lead here.
    #[inline]
    fn bits(&self) -> u32 {
        self.cells[CELLS] >> 16
    }

    fn in_use(&self) -> &[u32] {
        &self.cells[..self.used()]
    }

    #[inline]
    fn remove(&mut self, at: usize) {
        self.cells[at] = self.cells[self.used() - 1];
        self.cells[CELLS] -= 1;
    }

    #[inline]
    fn push(&mut self, cell: u32) {
        self.cells[self.used()] = cell;
        self.cells[CELLS] += 1;
    }

    /// A bit for each cell in use that has this tag. (All are compared, without a branch, which the compiler does by a few
    /// instructions for several at once.)
    #[inline(always)]
    fn alike(&self, tag: u32) -> u32 {
        let mut alike = 0;
        for (at, &cell) in self.cells.iter().enumerate() {
            alike |= u32::from(cell & !SLOT == tag) << at;
        }
        alike & ((1 << self.used()) - 1)
    }
}

/// The bits of a hash that its cell has in a row to which so many lead.
#[inline]
fn tag(hash: u64, bits: u32) -> u32 {
    ((hash << (bits / STEP * STEP % 64)) >> 32) as u32 & !SLOT
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
        fn finds_what_is_in_use(steps in prop::collection::vec((0..200u32, 0..150u64, any::<bool>(), any::<bool>()), 0..900)) {
            let mut index = Index::default();
            let mut in_use = HashMap::new();
            for (slot, hash, keep, takes_out) in steps {
                let hash = hash.wrapping_mul(0x0842_1084_2108_4211);
                if let Some(former) = in_use.remove(&slot).filter(|_| takes_out) {
                    prop_assert_eq!(index.take(former, |found| found == slot), Some(slot));
                }
                if keep {
                    let live = |slot| in_use.get(&slot).copied();
                    let Err(Some(vacancy)) = index.find_or_reserve(hash, |_| false, live, in_use.len()) else {
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
            let used: usize = index.rows.iter().map(|row| row.in_use().len()).sum();
            prop_assert_eq!(used, index.used);
        }
    }

    /// Hashes that share all bits that could tell them apart are refused in the end, and nothing is lost.
    #[test]
    fn hashes_that_are_alike_are_refused() {
        let mut index = Index::default();
        let stored = (0..200).take_while(|&slot| {
            let vacancy =
                index.find_or_reserve(7, |_| false, |_| Some(7), slot as usize).unwrap_err();
            let is_there = vacancy.is_some();
            vacancy.into_iter().for_each(|vacancy| index.insert(vacancy, slot));
            is_there
        });
        let stored = stored.count();
        assert_eq!(stored, CELLS);
        assert!((0..stored as u32).all(|slot| index.find(7, |found| found == slot) == Some(slot)));
    }

    /// A row with a stale cell has room without memory, which the order of expiry relies on.
    #[test]
    fn a_stale_cell_makes_room_without_memory() {
        // The upper bits are the same, so that all go into one row until that is split.
        let hash = |slot: u32| u64::from(slot) << 40;
        let mut index = Index::default();
        for slot in 0..CELLS as u32 {
            let vacancy = index.find_or_reserve(
                hash(slot),
                |_| false,
                |slot| Some(hash(slot)),
                slot as usize,
            );
            index.insert(vacancy.unwrap_err().unwrap(), slot);
        }
        let reserve = |index: &mut Index, stale: u32| {
            let live = |slot| (slot >= stale).then(|| hash(slot));
            index.find_or_reserve(hash(100), |_| false, live, CELLS - stale as usize).unwrap_err()
        };
        let (vacancy, starved) = crate::memory::starving(0, || reserve(&mut index, 0));
        assert!(vacancy.is_none() && starved, "none is stale");
        let (vacancy, _) = crate::memory::starving(0, || reserve(&mut index, 1));
        index.insert(vacancy.expect("one is stale"), 100);
        for slot in (1..CELLS as u32).chain([100]) {
            assert_eq!(index.find(hash(slot), |found| found == slot), Some(slot));
        }
    }
}
