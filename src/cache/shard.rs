//! A shard: the sessions of some of the keys, found by key, under one lock.

use super::count;
use super::index::{Index, MOST_SLOTS, Vacancy};
use super::key::Key;
use super::slots::{Slots, grow};
use super::sync::{Mutex, MutexGuard};
use super::types::Handle;

/// Aligned to a cache line, so that threads at neighbouring shards do not meet there.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Shard<S> {
    table: Mutex<Table<S>>,
}

/// The sessions of a shard. A place, which holds 26 bits of slot, never reads as `Place::NONE` for the
/// fewer that the index allows.
#[derive(Debug)]
pub(super) struct Table<S> {
    index: Index,
    entries: Slots<Entry<S>>,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Entry<S> {
    key: Key,
    session: S,
}

impl<S> Default for Shard<S> {
    fn default() -> Self {
        let table =
            Table { index: Index::default(), entries: Slots::default(), hits: 0, misses: 0 };
        Self { table: Mutex::new(table) }
    }
}

impl<S> Shard<S> {
    /// For whoever has locked the order. A holder that a fork has left behind was then only looking something up, as
    /// the table is changed with the order locked: nothing is to be mended.
    pub(super) fn lock(&self) -> MutexGuard<'_, Table<S>> {
        count::lock();
        self.table.lock_or_mend(|_| ())
    }

    /// `None` if a fork has left the holder behind.
    pub(super) fn lock_unless_dead(&self) -> Option<MutexGuard<'_, Table<S>>> {
        count::lock();
        self.table.lock_unless_dead()
    }

    /// `None` if the shard is locked.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Table<S>>> {
        self.table.try_lock()
    }
}

impl<S> Table<S> {
    /// The slot of the session under `key`. It stays where it is while the order is locked.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.index
            .find(key.hash(), |slot| self.entries.get(slot).is_some_and(|entry| entry.key == key))
    }

    /// The session in a slot.
    pub(super) fn session(&self, slot: u32) -> &S {
        &self.entries[slot].session
    }

    /// The same, or else room for it, so that [`Table::insert`] needs no memory. `Err(None)`: out of memory.
    #[inline(always)]
    pub(super) fn find_or_reserve(&mut self, key: Key) -> Result<u32, Option<Vacancy>> {
        let Self { index, entries, .. } = self;
        let is_it = |slot| entries.get(slot).is_some_and(|entry| entry.key == key);
        let live = |slot| entries.get(slot).map(|entry| entry.key.hash());
        let vacancy = match index.find_or_reserve(key.hash(), is_it, live, entries.len()) {
            Err(Some(vacancy)) => vacancy,
            found => return found,
        };
        Err(entries.reserve(MOST_SLOTS).map(|()| vacancy))
    }

    /// Hits and misses of [`Table::get`].
    pub(super) fn lookups(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    /// Gives up the storage.
    pub(super) fn take_storage(&mut self) -> impl Sized + use<S> {
        (std::mem::take(&mut self.index), std::mem::take(&mut self.entries))
    }

    /// The used slots, each of them found by its key.
    pub(super) fn validate(&self, number: usize) -> Result<Vec<u32>, String> {
        self.entries
            .iter()
            .map(|(slot, entry)| match self.find(entry.key) {
                _ if entry.key.shard() != number => {
                    Err(format!("{:?} is in a wrong shard", entry.key))
                }
                Some(found) if found == slot => Ok(slot),
                _ => Err(format!("shard {number} slot {slot} is not found by its key")),
            })
            .collect()
    }
}

impl<S: Handle> Table<S> {
    /// Stores under a key that is not there, for which room was found.
    #[inline(always)]
    pub(super) fn insert(&mut self, vacancy: Vacancy, key: Key, session: S) -> u32 {
        session.enters();
        let slot = self.entries.insert(Entry { key, session });
        self.index.insert(vacancy, slot);
        slot
    }

    /// Exchanges the session in a slot.
    pub(super) fn replace(&mut self, slot: u32, session: S) -> S {
        session.enters();
        let former = std::mem::replace(&mut self.entries[slot].session, session);
        former.left();
        former
    }

    /// Takes the session in a slot out. Its cell in the index stays, and is stale.
    #[inline]
    pub(super) fn remove(&mut self, slot: u32) -> S {
        let session = self.entries.remove(slot).session;
        session.left();
        session
    }

    /// Takes the session under `key` out, if it is `wanted`. Returns the slot that it had, too.
    #[inline]
    pub(super) fn take(&mut self, key: Key, wanted: impl Fn(&S) -> bool) -> Option<(u32, S)> {
        let Self { index, entries, .. } = self;
        let is_it = |slot| {
            entries.get(slot).is_some_and(|entry| entry.key == key && wanted(&entry.session))
        };
        let slot = index.take(key.hash(), is_it)?;
        Some((slot, self.remove(slot)))
    }

    /// Looks up, counts, and returns the slot and a handle.
    pub(super) fn get(&mut self, key: Key) -> Option<(u32, S)> {
        let found = self.find(key).map(|slot| (slot, self.session(slot).clone()));
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    /// Appends handles of all sessions.
    pub(super) fn append_to(&self, sessions: &mut Vec<S>) -> Option<()> {
        grow(sessions, self.entries.len())?;
        sessions.extend(self.entries.iter().map(|(_, entry)| entry.session.clone()));
        Some(())
    }
}
