//! One table of cells: finding an entry and room for one. [`super::Addresses`] decides when a cell changes.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The key of an empty cell, at which a search ends.
pub(super) const EMPTY: usize = 0;

/// The key of a cell that is no entry, at which a search goes on: one is being taken out, or was when a fork came.
pub(super) const HOLE: usize = 1;

/// Cells of the first table.
pub(super) const LEAST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) key: AtomicUsize,
    pub(super) value: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Table {
    /// A power of two of them.
    pub(super) cells: Vec<Cell>,
    pub(super) former: *mut Table,
}

impl Table {
    /// The first cell of this key, and its value.
    #[inline]
    pub(super) fn find(&self, key: usize) -> Option<(&Cell, usize)> {
        let mask = self.cells.len() - 1;
        let home = home(key, mask);
        let (mut at, mut left) = (home, self.cells.len());
        // An empty cell ends it, unless a fork has left too many holes.
        while left > 0 {
            let cell = &self.cells[at];
            let found = cell.key.load(Ordering::Acquire);
            if found == key {
                return Some((cell, cell.value.load(Ordering::Acquire)));
            }
            if found == EMPTY {
                break;
            }
            (at, left) = ((at + 1) & mask, left - 1);
        }
        None
    }

    /// An empty cell for this key, which is not there.
    pub(super) fn empty(&self, key: usize) -> Option<&Cell> {
        let mask = self.cells.len() - 1;
        let home = home(key, mask);
        let cells = (0..=mask).map(|step| &self.cells[(home + step) & mask]);
        cells.into_iter().find(|cell| cell.key.load(Ordering::Relaxed) == EMPTY)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, usize)> {
        self.cells.iter().filter_map(|cell| match cell.key.load(Ordering::Relaxed) {
            EMPTY | HOLE => None,
            key => Some((key, cell.value.load(Ordering::Relaxed))),
        })
    }

    pub(super) fn number(&self, cell: &Cell) -> usize {
        let offset = std::ptr::from_ref(cell).addr() - self.cells.as_ptr().addr();
        offset / size_of::<Cell>()
    }
}

/// Addresses follow each other at the distances of an allocator: one multiplication spreads them.
#[inline]
pub(super) fn home(key: usize, mask: usize) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) & mask
}
