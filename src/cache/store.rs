//! Storing: under a new key, in place of another session, again, under another key, until another time.

use super::expiry::Expiry;
use super::key::Key;
use super::order::Order;
use super::place::Place;
use super::shard::Table;
use super::types::{Handle, Stored};
use super::whole::{Cache, remove};

impl<S: Handle> Cache<S> {
    /// Stores `session` under `key` until `expiry`; `limit` sessions at most, 0 for any number.
    ///
    /// The session being stored never leaves for itself. A session that replaces another takes its
    /// place in the count, and its own place in the order.
    pub fn store(&self, key: Key, session: S, expiry: Expiry, limit: usize) -> Stored<S> {
        let Some(shards) = self.shards_or_make() else { return Stored::NoMemory(session) };
        let mut order = self.lock_order();
        let mut table = shards[key.shard()].lock();

        let vacancy = match table.find_or_reserve(key) {
            Ok(slot) => {
                let there = (&mut *order, &mut *table, key.place(slot));
                return self.store_again(there, session, expiry, limit);
            }
            Err(vacancy) => vacancy,
        };
        if limit > 0 && order.len() > limit {
            return Stored::Full { session, replaced: None };
        }
        // All memory first: from here on nothing can fail half way.
        let (Some(()), Some(vacancy)) = (order.reserve(key.shard(), expiry), vacancy) else {
            return Stored::NoMemory(session);
        };
        let mut evicted = None;
        if limit > 0 && order.len() == limit {
            // One shard's lock at a time; the order's lock keeps the key absent meanwhile.
            drop(table);
            evicted = order.pop_for_room().map(|place| remove(shards, place));
            order.statistics.evicted += u64::from(evicted.is_some());
            table = shards[key.shard()].lock();
        }
        let slot = table.insert(vacancy, key, session);
        order.append(key.place(slot), expiry);
        order.statistics.stored += 1;
        self.publish(&order);
        Stored::Added { evicted }
    }

    /// The same, where something is stored under `key`.
    fn store_again(
        &self,
        (order, table, place): (&mut Order, &mut Table<S>, Place),
        session: S,
        expiry: Expiry,
        limit: usize,
    ) -> Stored<S> {
        if *table.session(place.slot()) == session {
            // Should memory be short, the session stays at its old place in the order.
            let _ = order.move_to(place, expiry);
            order.use_again(place);
            self.publish(order);
            return Stored::Present(session);
        }
        if limit > 0 && order.len() > limit {
            order.unlink(place);
            let replaced = Some(table.remove(place.slot()));
            self.publish(order);
            return Stored::Full { session, replaced };
        }
        if order.append_again(place, expiry).is_none() {
            return Stored::NoMemory(session);
        }
        order.use_again(place);
        order.statistics.stored += 1;
        order.changes += 1;
        let former = table.replace(place.slot(), session);
        self.publish(order);
        Stored::Replaced(former)
    }

    /// Stores a session again that was detached too early, whatever their number: unless its key has a
    /// session again, or memory is short. Then it is handed back.
    pub fn put_back(&self, key: Key, session: S, expiry: Expiry) -> Option<S> {
        let Some(shards) = self.shards_or_make() else { return Some(session) };
        let mut order = self.lock_order();
        let mut table = shards[key.shard()].lock();
        let Err(Some(vacancy)) = table.find_or_reserve(key) else { return Some(session) };
        if order.reserve(key.shard(), expiry).is_none() {
            return Some(session);
        }
        order.append(key.place(table.insert(vacancy, key, session)), expiry);
        order.statistics.stored += 1;
        self.publish(&order);
        None
    }

    /// Gives a stored session a new expiry; among its equals it then counts as stored last. One that
    /// has that expiry already keeps its place.
    ///
    /// Returns whether this very session is stored under `key`.
    pub fn re_expire(&self, key: Key, session: &S, expiry: Expiry) -> bool {
        let Some(shards) = self.shards.get() else { return false };
        let mut order = self.lock_order();
        let found = {
            let table = shards[key.shard()].lock();
            table.find(key).filter(|&slot| table.session(slot) == session)
        };
        let Some(slot) = found else { return false };
        let _ = order.move_to(key.place(slot), expiry);
        self.publish(&order);
        true
    }

    /// Stores a session under another key. It keeps its expiry, and among its equals counts as stored
    /// last. A session that had the new key leaves; it is returned.
    ///
    /// Nothing happens unless this very session is stored under `old`, or when memory is short.
    pub fn re_key(&self, old: Key, new: Key, session: &S) -> Option<S> {
        let shards = self.shards.get()?;
        if old == new {
            return None;
        }
        let mut order = self.lock_order();
        let slot = {
            let table = shards[old.shard()].lock();
            table.find(old).filter(|&slot| table.session(slot) == session)?
        };
        let expiry = order.expiry(old.place(slot));
        let found = match shards[new.shard()].lock().find_or_reserve(new) {
            Ok(slot) => Ok(slot),
            Err(vacancy) => Err(vacancy?),
        };
        order.reserve(new.shard(), expiry)?;
        // It is stored all the while, for whoever asks about it now.
        session.enters();
        order.unlink(old.place(slot));
        let moved = shards[old.shard()].lock().remove(slot);
        let mut table = shards[new.shard()].lock();
        let (slot, displaced) = match found {
            Ok(slot) => {
                order.unlink(new.place(slot));
                (slot, Some(table.replace(slot, moved)))
            }
            Err(vacancy) => (table.insert(vacancy, new, moved), None),
        };
        order.append(new.place(slot), expiry);
        session.left();
        self.publish(&order);
        displaced
    }
}
