//! A table from addresses to values that threads read without a lock and without writing.
//!
//! Open addressing: an entry lies at the home of its hash, or after it with no empty cell between. Writers take a
//! lock, and each store of theirs leaves the table whole: a child that was forked between any two of them reads it,
//! and takes the lock over, as if nothing were wrong.
//!
//! An entry that is taken out leaves a hole that later ones move into, so that a table does not fill up with what
//! was there once. One that moves is in both places before it leaves the first, and the number of changes rises
//! between: a reader who may have passed the one before and the other after sees that it has risen, and looks
//! again. For the same reason it rises before a hole gets another entry: nobody takes the value of one for that of
//! another.
//!
//! Former, smaller tables are kept, as a reader may be in one; all of them together are as large as the present
//! one.

mod table;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::mutex::{Mutex, MutexGuard};
use table::{Cell, EMPTY, HOLE, LEAST, Table, home};

/// See the module. Keys are from 2 on; values are not 0.
#[derive(Debug)]
pub(crate) struct Addresses {
    table: AtomicPtr<Table>,
    /// Rises with each change that takes something away or replaces it.
    changes: AtomicU64,
    /// Cells that are not empty. One too many, perhaps, after a fork.
    used: AtomicUsize,
    writers: Mutex<()>,
}

impl Addresses {
    pub(crate) const fn new() -> Self {
        Self {
            table: AtomicPtr::new(std::ptr::null_mut()),
            changes: AtomicU64::new(0),
            used: AtomicUsize::new(0),
            writers: Mutex::new(()),
        }
    }

    /// Rises whenever what was found under a key is not there any more, or is another value.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The value under a key.
    #[inline]
    pub(crate) fn get(&self, key: usize) -> Option<usize> {
        if key <= HOLE {
            return None;
        }
        loop {
            let before = self.changes();
            let found = self.table()?.find(key);
            if self.changes.load(Ordering::Relaxed) == before {
                return found.map(|(_, value)| value);
            }
        }
    }

    /// Puts a value under a key, and returns the one that it replaces. `Err` out of memory: nothing was done.
    pub(crate) fn insert(&self, key: usize, value: usize) -> Result<Option<usize>, ()> {
        let _writing = self.lock();
        if let Some((_, former)) = self.table().and_then(|table| table.find(key)) {
            // In each cell that has it: a fork in the middle of a move leaves an entry in two places.
            for cell in self.table().into_iter().flat_map(|table| table.cells.iter()) {
                if cell.key.load(Ordering::Relaxed) == key {
                    cell.value.store(value, Ordering::Release);
                }
            }
            self.change();
            return Ok(Some(former));
        }
        self.add(key, value).map(|()| None)
    }

    /// Puts a value under a key that has none, and returns the one that is then there. `Err` out of memory.
    pub(crate) fn get_or_insert(&self, key: usize, value: usize) -> Result<usize, ()> {
        let _writing = self.lock();
        if let Some((_, there)) = self.table().and_then(|table| table.find(key)) {
            return Ok(there);
        }
        self.add(key, value).map(|()| value)
    }

    /// Adds an entry under a key that is not there, with the writers' lock held.
    fn add(&self, key: usize, value: usize) -> Result<(), ()> {
        debug_assert!(key > HOLE && value != 0);
        let used = self.used.load(Ordering::Relaxed);
        let room = self.table().filter(|table| used < table.cells.len() - table.cells.len() / 4);
        let place = match room.and_then(|table| table.empty(key)) {
            Some(place) => place,
            None => self.grow()?.empty(key).ok_or(())?,
        };
        self.used.fetch_add(1, Ordering::Relaxed);
        // After the change that emptied the cell: a reader who still takes it for the former entry's sees that.
        place.value.store(value, Ordering::Release);
        place.key.store(key, Ordering::Release);
        Ok(())
    }

    /// Takes out what is under a key if it is this value. Returns whether it was.
    pub(crate) fn remove(&self, key: usize, value: usize) -> bool {
        let _writing = self.lock();
        let mut found = false;
        // A fork in the middle of a move leaves an entry in two places.
        while let Some((cell, there)) = self.table().and_then(|table| table.find(key)) {
            if there != value {
                break;
            }
            self.take(cell);
            found = true;
        }
        found
    }

    /// Takes an entry out.
    fn take(&self, cell: &Cell) {
        let Some(table) = self.table() else { return };
        let mask = table.cells.len() - 1;
        let mut hole = table.number(cell);
        cell.key.store(HOLE, Ordering::Release);
        self.change();
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let next = &table.cells[at];
            let key = next.key.load(Ordering::Relaxed);
            if key == EMPTY {
                break;
            }
            // It may move if the hole is not before its home.
            let from_home = at.wrapping_sub(home(key, mask)) & mask;
            if key == HOLE || from_home < (at.wrapping_sub(hole) & mask) {
                continue;
            }
            let value = next.value.load(Ordering::Relaxed);
            table.cells[hole].value.store(value, Ordering::Release);
            table.cells[hole].key.store(key, Ordering::Release);
            self.change();
            next.key.store(HOLE, Ordering::Release);
            self.change();
            hole = at;
        }
        table.cells[hole].key.store(EMPTY, Ordering::Release);
        self.used.fetch_sub(1, Ordering::Relaxed);
    }

    /// Visits all entries, with the writers' lock held: nothing leaves meanwhile, and `visit` may do no more than
    /// look. (One that was moving at a fork is visited twice.)
    pub(crate) fn for_each(&self, visit: impl FnMut(usize)) {
        let _writing = self.lock();
        self.visit(visit);
    }

    /// Calls `look` with the writers' lock held, as `for_each`, if nothing has changed since [`Addresses::changes`] returned
    /// `changes`: what was found then is still there. Else `None`.
    pub(crate) fn while_unchanged<R>(&self, changes: u64, look: impl FnOnce() -> R) -> Option<R> {
        let _writing = self.lock();
        (self.changes() == changes).then(look)
    }

    /// `for_each`, unless somebody is changing the table.
    pub(crate) fn try_for_each(&self, visit: impl FnMut(usize)) {
        if let Some(_writing) = self.writers.try_lock() {
            self.visit(visit);
        }
    }

    fn visit(&self, visit: impl FnMut(usize)) {
        self.table()
            .iter()
            .flat_map(|table| table.entries())
            .map(|(_, value)| value)
            .for_each(visit);
    }

    /// A lock taken over from a dead writer guards a table that is whole.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writers.lock()
    }

    fn change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn table(&self) -> Option<&Table> {
        // SAFETY: null, or a table that stays until this is dropped.
        unsafe { self.table.load(Ordering::Acquire).as_ref() }
    }

    /// Makes a larger table, if there is no room for lack of cells rather than for holes that a fork has left.
    fn grow(&self) -> Result<&Table, ()> {
        let (live, size) =
            self.table().map_or((0, 0), |table| (table.entries().count(), table.cells.len()));
        let wanted = if live * 2 >= size { size * 2 } else { size };
        let mut cells = Vec::new();
        cells.try_reserve_exact(wanted.max(LEAST)).map_err(drop)?;
        cells.resize_with(wanted.max(LEAST), Cell::default);
        let table = Table { cells, former: self.table.load(Ordering::Relaxed) };
        let mut used = 0;
        for (key, value) in self.table().iter().flat_map(|table| table.entries()) {
            if table.find(key).is_none() {
                let place = table.empty(key).ok_or(())?;
                place.value.store(value, Ordering::Relaxed);
                place.key.store(key, Ordering::Relaxed);
                used += 1;
            }
        }
        let new = crate::memory::boxed(table).ok_or(())?;
        self.used.store(used, Ordering::Relaxed);
        self.table.store(Box::into_raw(new), Ordering::Release);
        self.table().ok_or(())
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        let mut table = *self.table.get_mut();
        while !table.is_null() {
            // SAFETY: made by `grow`, and nobody is left who reads it.
            table = unsafe { Box::from_raw(table) }.former;
        }
    }
}
