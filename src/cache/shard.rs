//! A shard: the sessions of some of the keys, found by key, under one lock.

use hashbrown::HashTable;
use parking_lot::Mutex;

use super::key::Key;
use super::place::Place;
use super::slots::{Slots, grow};

/// Shards of a cache.
///
/// At a million sessions each holds sixteen thousand, so that growing one takes a fraction of a
/// millisecond; and they take four kilobytes, once something is stored.
pub(super) const SHARDS: usize = 64;

/// Aligned to a cache line, so that threads at neighbouring shards do not meet there.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Shard<S> {
    table: Mutex<Table<S>>,
}

#[derive(Debug)]
struct Table<S> {
    index: HashTable<u32>,
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
            Table { index: HashTable::new(), entries: Slots::default(), hits: 0, misses: 0 };
        Self { table: Mutex::new(table) }
    }
}

impl<S> Table<S> {
    fn find(&self, key: Key) -> Option<u32> {
        self.index.find(key.hash(), |&slot| self.entries[slot].key == key).copied()
    }
}

impl<S> Shard<S> {
    /// The slot of the session under `key`. It stays where it is while the order is locked.
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.table.lock().find(key)
    }

    /// Asks something of the session in `slot`.
    pub(super) fn with<R>(&self, slot: u32, ask: impl FnOnce(&S) -> R) -> R {
        ask(&self.table.lock().entries[slot].session)
    }

    /// Makes sure that the next [`Shard::insert`] needs no memory.
    pub(super) fn reserve(&self) -> Option<()> {
        let Table { index, entries, .. } = &mut *self.table.lock();
        entries.reserve(Place::MOST_SLOTS)?;
        index.try_reserve(1, |&slot| entries[slot].key.hash()).ok()
    }

    /// Stores under a key that is not there; memory was reserved.
    pub(super) fn insert(&self, key: Key, session: S) -> u32 {
        let Table { index, entries, .. } = &mut *self.table.lock();
        let slot = entries.insert(Entry { key, session });
        index.insert_unique(key.hash(), slot, |&slot| entries[slot].key.hash());
        slot
    }

    /// Exchanges the session in `slot`.
    pub(super) fn replace(&self, slot: u32, session: S) -> S {
        std::mem::replace(&mut self.table.lock().entries[slot].session, session)
    }

    /// Takes the session in `slot` out.
    pub(super) fn remove(&self, slot: u32) -> S {
        let Table { index, entries, .. } = &mut *self.table.lock();
        let Entry { key, session } = entries.remove(slot);
        match index.find_entry(key.hash(), |&found| found == slot) {
            Ok(found) => found.remove(),
            Err(_) => unreachable!("slot {slot} is not in the index"),
        };
        session
    }

    /// Hits and misses of [`Shard::get`].
    pub(super) fn lookups(&self) -> (u64, u64) {
        let table = self.table.lock();
        (table.hits, table.misses)
    }

    /// Gives up the storage of an empty shard.
    pub(super) fn take_storage(&self) -> impl Sized + use<S> {
        let table = &mut *self.table.lock();
        debug_assert!(table.index.is_empty());
        (std::mem::take(&mut table.index), std::mem::take(&mut table.entries))
    }

    /// The used slots, each of them found in the index, and nothing else there.
    pub(super) fn validate(&self, number: usize) -> Result<Vec<u32>, String> {
        let table = self.table.lock();
        if table.index.len() != table.entries.len() {
            return Err(format!("shard {number}: index and entries differ in number"));
        }
        table
            .entries
            .iter()
            .map(|(slot, entry)| match table.find(entry.key) {
                _ if entry.key.shard() != number => {
                    Err(format!("{:?} is in a wrong shard", entry.key))
                }
                Some(found) if found == slot => Ok(slot),
                _ => Err(format!("shard {number} slot {slot} is not found by its key")),
            })
            .collect()
    }
}

impl<S: PartialEq> Shard<S> {
    /// Whether the session in `slot` is this very one.
    pub(super) fn holds(&self, slot: u32, session: &S) -> bool {
        self.with(slot, |stored| stored == session)
    }
}

impl<S: Clone> Shard<S> {
    /// Looks up, counts, and returns a handle.
    pub(super) fn get(&self, key: Key) -> Option<S> {
        let table = &mut *self.table.lock();
        let found = table.find(key).map(|slot| table.entries[slot].session.clone());
        match found {
            Some(_) => table.hits += 1,
            None => table.misses += 1,
        }
        found
    }

    /// Appends handles of all sessions.
    pub(super) fn append_to(&self, sessions: &mut Vec<S>) -> Option<()> {
        let table = self.table.lock();
        grow(sessions, table.entries.len())?;
        sessions.extend(table.entries.iter().map(|(_, entry)| entry.session.clone()));
        Some(())
    }
}
