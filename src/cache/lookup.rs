//! Looking up by key, with one shard's lock; by the least-recently-used policy also with the order's.

use super::key::Key;
use super::sync::Ordering;
use super::types::{Eviction, Handle};
use super::whole::Cache;

impl<S: Handle> Cache<S> {
    /// Looks `key` up, counts a hit or a miss, and returns a handle of its own.
    pub fn get(&self, key: Key) -> Option<S> {
        let found = self.look_up(key);
        if let Some(observer) = &self.observer {
            observer.looked_up(found.is_some());
        }
        found
    }

    fn look_up(&self, key: Key) -> Option<S> {
        let Some(shards) = self.shards.get() else {
            self.early_misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let mut order = match self.eviction {
            Eviction::EarliestExpiry => None,
            Eviction::LeastRecentlyUsed => Some(self.lock_order()),
        };
        let shard = &shards[key.shard()];
        let mut table = if order.is_some() { shard.lock() } else { self.lock_shard(shard) };
        let (slot, session) = table.get(key)?;
        drop(table);
        if let Some(order) = &mut order {
            order.use_again(key.place(slot));
        }
        Some(session)
    }

    /// The same without counting: to whoever uses the cache, the key was not looked up.
    pub fn peek(&self, key: Key) -> Option<S> {
        let table = self.lock_shard(&self.shards.get()?[key.shard()]);
        table.find(key).map(|slot| table.session(slot).clone())
    }

    /// Returns whether something is stored under `key`. Counts nothing.
    pub fn contains(&self, key: Key) -> bool {
        let shard = self.shards.get().map(|shards| &shards[key.shard()]);
        shard.is_some_and(|shard| self.lock_shard(shard).find(key).is_some())
    }
}
