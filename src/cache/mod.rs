//! The session cache: what a server stores, found by key and kept in order of expiry.
//!
//! Pure safe Rust, generic over the stored session, and free of any knowledge of OpenSSL. It has no
//! clock either: every time comes in as an argument, so that a test decides what time it is.
//!
//! # How it is built
//!
//! ```text
//!             order (one lock)                      shards (a lock each)
//!   deadlines: heap + table -> bucket        index: key -> slot
//!   bucket:    first .. last of one second   slot:  key, session
//!   links:     next, previous, bucket  <-- the same place (shard, slot) -->
//! ```
//!
//! Whoever changes what is stored takes the order's lock, and inside it one shard's lock at a time.
//! A lookup takes one shard's lock only, so lookups neither meet each other nor wait for a flush.
//! That order is total and counted under one lock makes capacity, eviction and flush exact, also
//! among threads; sharding the order as well was rejected, because it would need a merge of all shards
//! to remove the earliest session first, for locks that are held some hundred nanoseconds.
//!
//! No session is dropped, and nothing foreign is called, under a lock: what leaves is handed to the
//! caller. (`Clone` of a session does run under a shard's lock: it must only count a reference.)

mod count;
mod expiry;
mod index;
mod key;
mod links;
mod order;
mod place;
mod shard;
mod slots;
mod sync;

// Counts at sizes that Miri would not come to the end of.
#[cfg(all(test, not(miri)))]
mod complexity;
#[cfg(any(test, fuzzing))]
pub mod oracle;
#[cfg(all(test, not(miri)))]
mod security;
#[cfg(test)]
mod tests;

pub use expiry::{Cutoff, Expiry};
pub use key::{Key, KeyMaker};

use std::sync::Arc;

use order::Order;
use place::{Place, SHARDS};
use shard::{Shard, Table};
use sync::{AtomicI64, AtomicU64, AtomicUsize, Mutex, MutexGuard, OnceBox, Ordering};

/// Most sessions that one hold of the order's lock detaches.
///
/// A few dozen: the lock is held for microseconds, and taking it is still cheap beside the work.
/// (Models have few sessions, and are to see several batches.)
pub const BATCH: usize = if cfg!(sslsweep_model) { 2 } else { 32 };

/// Which session leaves when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// The one that expires first; among equals the one stored first.
    #[default]
    EarliestExpiry,
    /// The one whose last store or lookup is longest ago. A lookup then has to take the order's lock,
    /// and a session costs another eight bytes.
    LeastRecentlyUsed,
}

/// What [`Cache::store`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored<S> {
    /// A new key. When the cache was full, another session has left for it: see [`Eviction`].
    Added {
        /// The session that left for lack of room.
        evicted: Option<S>,
    },
    /// Another session had this key; it is handed back.
    Replaced(S),
    /// This very session was stored already; the caller's handle is handed back.
    Present(S),
    /// Nothing was stored: more than one session must leave first. Call [`Cache::evict`], then again.
    Full {
        /// What was to be stored.
        session: S,
        /// The session that had the key; it has left already.
        replaced: Option<S>,
    },
    /// Nothing was stored: no memory.
    NoMemory(S),
}

/// What a cache has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Sessions stored under a new key, or in place of another one.
    pub stored: u64,
    /// Sessions that left for lack of room.
    pub evicted: u64,
    /// Sessions detached because their time had come.
    pub flushed: u64,
    /// Times that the order was locked to detach due sessions.
    pub batches: u64,
    /// Sessions taken out by key.
    pub taken: u64,
    /// Lookups that found a session.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

impl std::ops::Add for Statistics {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            stored: self.stored + other.stored,
            evicted: self.evicted + other.evicted,
            flushed: self.flushed + other.flushed,
            batches: self.batches + other.batches,
            taken: self.taken + other.taken,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
        }
    }
}

impl Statistics {
    fn add_lookups<S>(&mut self, table: &Table<S>) {
        let (hits, misses) = table.lookups();
        self.hits += hits;
        self.misses += misses;
    }
}

/// Who is told of every change. It is called with a lock held, so it may do no more than write numbers down.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// The cache now holds so many sessions, and has done this. (Lookups are not in there.)
    fn changed(&self, sessions: usize, done: &Statistics);
    /// A session was looked up.
    fn looked_up(&self, found: bool);
}

/// A stored session's handle, where `==` means "the same object".
pub trait Handle: Clone + PartialEq {
    /// One more cache stores the session. Called with locks held, before anybody can find the session there, so it
    /// may only count.
    fn enters(&self) {}
    /// One cache less does. The same holds.
    fn left(&self) {}
}

/// A cache of sessions of type `S`.
///
/// # After a fork
///
/// Another thread may have been inside when the process was forked, and is not there in the child. If it held the
/// order's lock, it may have been half way through a change: who next takes that lock in the child finds the cache
/// empty, with whatever was in it forgotten. If it held a shard's alone, it was looking something up, and nothing
/// is lost.
#[derive(Debug)]
pub struct Cache<S> {
    eviction: Eviction,
    observer: Option<Arc<dyn Observer>>,
    order: Mutex<Order>,
    /// Made by the first store: a cache that stores nothing stays small.
    shards: OnceBox<[Shard<S>; SHARDS]>,
    /// Copies of what the order knows, for readers that need no lock.
    len: AtomicUsize,
    earliest: AtomicI64,
    /// Misses in a cache that has no shards yet.
    early_misses: AtomicU64,
}

impl<S> Default for Cache<S> {
    fn default() -> Self {
        Self::new(Eviction::default(), None)
    }
}

impl<S> Cache<S> {
    /// An empty cache.
    pub fn new(eviction: Eviction, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            eviction,
            observer,
            order: Mutex::new(Order::new(eviction)),
            shards: OnceBox::new(),
            len: AtomicUsize::new(0),
            earliest: AtomicI64::new(Expiry::NEVER.seconds()),
            early_misses: AtomicU64::new(0),
        }
    }
}

impl<S> Cache<S> {
    /// The number of sessions stored.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each second at which something expires, in no particular order, and how many sessions do so then. The
    /// order's lock is held for steps of bounded length, in which `visit` may do no more than count.
    pub fn for_each_expiry(&self, mut visit: impl FnMut(Expiry, u64)) {
        const STEP: u32 = 1024;
        let mut from = Some(0);
        while let Some(number) = from {
            from = self.lock_order().visit_buckets(number, STEP, &mut visit);
        }
    }

    /// A number that rises whenever another set of sessions is stored, and never falls.
    pub fn changes(&self) -> u64 {
        self.lock_order().changes
    }

    /// What the cache has done since it was made.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.lock_order().statistics;
        for shard in self.all_shards() {
            statistics.add_lookups(&self.lock_shard(shard));
        }
        statistics.misses += self.early_misses.load(Ordering::Relaxed);
        statistics
    }

    /// The same without waiting for anybody: `None` while the order is locked, and without the lookups of shards
    /// that are. For a signal handler, which may have interrupted whoever holds them.
    pub fn try_statistics(&self) -> Option<Statistics> {
        let mut statistics = self.order.try_lock()?.statistics;
        for table in self.all_shards().filter_map(Shard::try_lock) {
            statistics.add_lookups(&table);
        }
        statistics.misses += self.early_misses.load(Ordering::Relaxed);
        Some(statistics)
    }

    fn all_shards(&self) -> impl Iterator<Item = &Shard<S>> {
        self.shards.get().into_iter().flatten()
    }

    fn lock_order(&self) -> MutexGuard<'_, Order> {
        count::lock();
        self.order.lock_or_mend(|order| self.begin_again(order))
    }

    /// For whoever has not locked the order.
    fn lock_shard<'a>(&self, shard: &'a Shard<S>) -> MutexGuard<'a, Table<S>> {
        shard.lock_unless_dead().unwrap_or_else(|| {
            // It is half changed only if the order is too, which is mended first.
            let _order = self.lock_order();
            shard.lock()
        })
    }

    /// Forgets what the tables hold that a fork has caught half changed. Dropping it would walk through it.
    #[cold]
    fn begin_again(&self, order: &mut Order) {
        for shard in self.all_shards() {
            std::mem::forget(shard.lock().take_storage());
        }
        std::mem::forget(order.take_storage());
        self.publish(order);
    }

    fn publish(&self, order: &Order) {
        self.len.store(order.len(), Ordering::Release);
        self.earliest.store(order.earliest().seconds(), Ordering::Release);
        if let Some(observer) = &self.observer {
            observer.changed(order.len(), &order.statistics);
        }
    }
}

impl<S: Handle> Cache<S> {
    /// Stores `session` under `key` until `expiry`; `limit` sessions at most, 0 for any number.
    ///
    /// The session being stored never leaves for itself. A session that replaces another takes its
    /// place in the count, and its own place in the order.
    pub fn store(&self, key: Key, session: S, expiry: Expiry, limit: usize) -> Stored<S> {
        let Some(shards) = self.shards_or_make() else { return Stored::NoMemory(session) };
        #[expect(clippy::needless_late_init, reason = "before the locks, to be dropped after them")]
        let _retired;
        let mut order = self.lock_order();
        let mut table = shards[key.shard()].lock();

        if let Some(slot) = table.find(key) {
            let place = key.place(slot);
            if *table.session(slot) == session {
                // Should memory be short, the session stays at its old place in the order.
                let _ = order.move_to(place, expiry);
                order.use_again(place);
                self.publish(&order);
                return Stored::Present(session);
            }
            if limit > 0 && order.len() > limit {
                order.unlink(place);
                let replaced = Some(table.remove(slot));
                self.publish(&order);
                return Stored::Full { session, replaced };
            }
            if order.append_again(place, expiry).is_none() {
                return Stored::NoMemory(session);
            }
            order.use_again(place);
            order.statistics.stored += 1;
            order.changes += 1;
            let former = table.replace(slot, session);
            self.publish(&order);
            return Stored::Replaced(former);
        }

        if limit > 0 && order.len() > limit {
            return Stored::Full { session, replaced: None };
        }
        // All memory first: from here on nothing can fail half way.
        let (Some(()), Some(retired)) = (order.reserve(key.shard(), expiry), table.reserve())
        else {
            return Stored::NoMemory(session);
        };
        _retired = retired;
        let mut evicted = None;
        if limit > 0 && order.len() == limit {
            // One shard's lock at a time; the order's lock keeps the key absent meanwhile.
            drop(table);
            evicted = order.pop_for_room().map(|place| remove(shards, place));
            order.statistics.evicted += u64::from(evicted.is_some());
            table = shards[key.shard()].lock();
        }
        let slot = table.insert(key, session);
        order.append(key.place(slot), expiry);
        order.statistics.stored += 1;
        self.publish(&order);
        Stored::Added { evicted }
    }

    /// Stores a session again that was detached too early, whatever their number: unless its key has a
    /// session again, or memory is short. Then it is handed back.
    pub fn put_back(&self, key: Key, session: S, expiry: Expiry) -> Option<S> {
        let Some(shards) = self.shards_or_make() else { return Some(session) };
        #[expect(clippy::needless_late_init, reason = "before the locks, to be dropped after them")]
        let _retired;
        let mut order = self.lock_order();
        let mut table = shards[key.shard()].lock();
        if table.find(key).is_some() || order.reserve(key.shard(), expiry).is_none() {
            return Some(session);
        }
        let Some(retired) = table.reserve() else { return Some(session) };
        _retired = retired;
        order.append(key.place(table.insert(key, session)), expiry);
        order.statistics.stored += 1;
        self.publish(&order);
        None
    }

    /// Detaches sessions for lack of room until `limit` are left, at most [`BATCH`] of them.
    ///
    /// Returns how many there are still above `limit`. When there are some and none was detached, memory is
    /// short.
    pub fn evict(&self, limit: usize, left: &mut Vec<S>) -> usize {
        let mut order = self.lock_order();
        let excess = order.len().saturating_sub(limit).min(BATCH);
        let detached = self.detach(&mut order, Order::pop_for_room, excess, left);
        order.statistics.evicted += detached as u64;
        self.publish(&order);
        order.len().saturating_sub(limit)
    }

    /// Whether a session is due. Takes no lock.
    pub fn is_due(&self, cutoff: Cutoff) -> bool {
        let earliest = Expiry::from_seconds(self.earliest.load(Ordering::Acquire));
        cutoff.reaches(earliest) && !self.is_empty()
    }

    /// Detaches sessions that are due, earliest expiry first and first stored first among equals,
    /// at most [`BATCH`] of them.
    ///
    /// Returns whether more may be due. Nothing due: no lock is taken.
    pub fn take_due(&self, cutoff: Cutoff, due: &mut Vec<S>) -> bool {
        self.take_some_due(cutoff, BATCH, due)
    }

    /// The same, and at most `most` of them.
    pub fn take_some_due(&self, cutoff: Cutoff, most: usize, due: &mut Vec<S>) -> bool {
        let most = most.min(BATCH);
        if most == 0 || !self.is_due(cutoff) {
            return false;
        }
        let mut order = self.lock_order();
        let detached = self.detach(&mut order, |order| order.pop(cutoff), most, due);
        order.statistics.flushed += detached as u64;
        order.statistics.batches += 1;
        self.publish(&order);
        if order.len() == 0 {
            self.give_storage_up(order);
        } else {
            // To whoever waits, or a flush would take the lock again at once, batch after batch.
            MutexGuard::unlock_fair(order);
        }
        detached == most
    }

    /// How many sessions are due. Exact where nothing changes meanwhile.
    pub fn count_due(&self, cutoff: Cutoff) -> u64 {
        let mut due = 0;
        if self.is_due(cutoff) {
            self.for_each_expiry(|expiry, sessions| {
                if cutoff.reaches(expiry) {
                    due += sessions;
                }
            });
        }
        due
    }

    /// Detaches the first session that is due, which needs no memory.
    pub fn take_first_due(&self, cutoff: Cutoff) -> Option<S> {
        let shards = self.shards.get()?;
        let mut order = self.lock_order();
        let place = order.pop(cutoff)?;
        let session = remove(shards, place);
        order.statistics.flushed += 1;
        self.publish(&order);
        Some(session)
    }

    /// Takes out the session stored under `key`.
    pub fn take(&self, key: Key) -> Option<S> {
        self.take_where(key, |_| true)
    }

    /// Takes out the session stored under `key` if it is this very one.
    pub fn take_exactly(&self, key: Key, session: &S) -> Option<S> {
        self.take_where(key, |stored| stored == session)
    }

    fn take_where(&self, key: Key, wanted: impl Fn(&S) -> bool) -> Option<S> {
        let shard = &self.shards.get()?[key.shard()];
        let mut order = self.lock_order();
        let session = {
            let mut table = shard.lock();
            let slot = table.find(key).filter(|&slot| wanted(table.session(slot)))?;
            order.unlink(key.place(slot));
            table.remove(slot)
        };
        order.statistics.taken += 1;
        self.publish(&order);
        self.give_storage_up(order);
        Some(session)
    }

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

    /// Whether something is stored under `key`. Counts nothing.
    pub fn contains(&self, key: Key) -> bool {
        let shard = self.shards.get().map(|shards| &shards[key.shard()]);
        shard.is_some_and(|shard| self.lock_shard(shard).find(key).is_some())
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
    /// Nothing happens unless this very session is stored under `old`; nor without memory.
    pub fn re_key(&self, old: Key, new: Key, session: &S) -> Option<S> {
        let shards = self.shards.get()?;
        if old == new {
            return None;
        }
        #[expect(clippy::needless_late_init, reason = "before the locks, to be dropped after them")]
        let _retired;
        let mut order = self.lock_order();
        let slot = {
            let table = shards[old.shard()].lock();
            table.find(old).filter(|&slot| table.session(slot) == session)?
        };
        let expiry = order.expiry(old.place(slot));
        order.reserve(new.shard(), expiry)?;
        _retired = shards[new.shard()].lock().reserve()?;
        // It is stored all the while, for whoever asks about it now.
        session.enters();
        order.unlink(old.place(slot));
        let moved = shards[old.shard()].lock().remove(slot);
        let mut table = shards[new.shard()].lock();
        let displaced = table.find(new).map(|slot| {
            order.unlink(new.place(slot));
            table.remove(slot)
        });
        order.append(new.place(table.insert(new, moved)), expiry);
        session.left();
        self.publish(&order);
        displaced
    }

    /// Handles of all stored sessions, in no particular order: each shard as it is when its turn
    /// comes. `None` without memory.
    pub fn snapshot(&self) -> Option<Vec<S>> {
        let mut sessions = Vec::new();
        for shard in self.all_shards() {
            self.lock_shard(shard).append_to(&mut sessions)?;
        }
        Some(sessions)
    }

    /// Holds the index, the order and the counts against each other.
    ///
    /// # Errors
    ///
    /// Says what does not fit.
    pub fn validate(&self) -> Result<(), String> {
        let order = self.lock_order();
        let mut ordered = order.validate()?;
        if order.len() != self.len() {
            return Err(format!("{} ordered, {} published", order.len(), self.len()));
        }
        if order.earliest() != Expiry::from_seconds(self.earliest.load(Ordering::Relaxed)) {
            return Err("the published earliest expiry is not the order's".into());
        }
        for (number, shard) in self.all_shards().enumerate() {
            for slot in shard.lock().validate(number)? {
                if !ordered.remove(&Place::new(number, slot)) {
                    return Err(format!("shard {number} slot {slot} has no place in the order"));
                }
            }
        }
        match ordered.len() {
            0 => Ok(()),
            n => Err(format!("{n} places in the order have no session")),
        }
    }

    fn detach(
        &self,
        order: &mut Order,
        next: impl Fn(&mut Order) -> Option<Place>,
        most: usize,
        out: &mut Vec<S>,
    ) -> usize {
        let Some(shards) = self.shards.get() else { return 0 };
        if out.try_reserve(most).is_err() {
            return 0;
        }
        let mut detached = 0;
        while detached < most {
            let Some(place) = next(order) else { break };
            out.push(remove(shards, place));
            detached += 1;
        }
        detached
    }

    fn shards_or_make(&self) -> Option<&[Shard<S>; SHARDS]> {
        let shards = self.shards.get_or_try_init(|| {
            let mut shards = Vec::new();
            shards.try_reserve_exact(SHARDS).map_err(drop)?;
            shards.resize_with(SHARDS, Shard::default);
            shards.into_boxed_slice().try_into().map_err(drop)
        });
        shards.ok()
    }

    /// Frees, when the lock is free, the storage that an emptied cache no longer needs (C20).
    fn give_storage_up(&self, mut order: MutexGuard<'_, Order>) {
        if order.len() > 0 || !order.is_roomy() {
            return;
        }
        if let Some(shards) = self.shards.get() {
            let tables: [_; SHARDS] =
                std::array::from_fn(|number| shards[number].lock().take_storage());
            let storage = order.take_storage();
            drop(order);
            drop((storage, tables));
        }
    }
}

fn remove<S: Handle>(shards: &[Shard<S>], place: Place) -> S {
    shards[place.shard()].lock().remove(place.slot())
}
