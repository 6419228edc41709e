//! A cache as a whole: its parts, their locks, its counts, and the check that they agree.

use std::sync::Arc;

use super::count;
use super::expiry::Expiry;
use super::order::Order;
use super::place::{Place, SHARDS};
use super::shard::{Shard, Table};
use super::sync::{AtomicI64, AtomicU64, AtomicUsize, Mutex, MutexGuard, OnceBox, Ordering};
use super::types::{Eviction, Handle, Observer, Statistics};

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
    pub(super) eviction: Eviction,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) order: Mutex<Order>,
    /// Made by the first store: a cache that stores nothing stays small.
    pub(super) shards: OnceBox<[Shard<S>; SHARDS]>,
    /// Copies of what the order knows, for readers that need no lock.
    len: AtomicUsize,
    pub(super) earliest: AtomicI64,
    /// Misses in a cache that has no shards yet.
    pub(super) early_misses: AtomicU64,
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

    /// Returns whether nothing is stored.
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

    /// The figures since the cache was made.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.lock_order().statistics;
        for shard in self.all_shards() {
            add_lookups(&mut statistics, &self.lock_shard(shard));
        }
        statistics.misses += self.early_misses.load(Ordering::Relaxed);
        statistics
    }

    /// The same without waiting for anybody: `None` while the order is locked, and without the lookups of shards
    /// that are. For a signal handler, which may have interrupted whoever holds them.
    pub fn try_statistics(&self) -> Option<Statistics> {
        let mut statistics = self.order.try_lock()?.statistics;
        for table in self.all_shards().filter_map(Shard::try_lock) {
            add_lookups(&mut statistics, &table);
        }
        statistics.misses += self.early_misses.load(Ordering::Relaxed);
        Some(statistics)
    }

    pub(super) fn all_shards(&self) -> impl Iterator<Item = &Shard<S>> {
        self.shards.get().into_iter().flatten()
    }

    pub(super) fn lock_order(&self) -> MutexGuard<'_, Order> {
        count::lock();
        self.order.lock_or_mend(|order| self.begin_again(order))
    }

    /// For whoever has not locked the order.
    #[inline]
    pub(super) fn lock_shard<'a>(&self, shard: &'a Shard<S>) -> MutexGuard<'a, Table<S>> {
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

    pub(super) fn publish(&self, order: &Order) {
        self.len.store(order.len(), Ordering::Release);
        self.earliest.store(order.earliest().seconds(), Ordering::Release);
        if let Some(observer) = &self.observer {
            observer.changed(order.len(), &order.statistics);
        }
    }
}

impl<S: Handle> Cache<S> {
    /// Handles of all stored sessions, in no particular order: each shard as it is when its turn
    /// comes. `None`: out of memory.
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

    pub(super) fn shards_or_make(&self) -> Option<&[Shard<S>; SHARDS]> {
        let shards = self.shards.get_or_try_init(|| {
            let mut shards = Vec::new();
            shards.try_reserve_exact(SHARDS).map_err(drop)?;
            shards.resize_with(SHARDS, Shard::default);
            shards.into_boxed_slice().try_into().map_err(drop)
        });
        shards.ok()
    }

    /// Frees, when the lock is free, the storage that a cache no longer needs that is empty now (C20).
    #[cold]
    pub(super) fn give_storage_up(&self, mut order: MutexGuard<'_, Order>) {
        if !order.is_roomy() {
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

fn add_lookups<S>(statistics: &mut Statistics, table: &Table<S>) {
    let (hits, misses) = table.lookups();
    statistics.hits += hits;
    statistics.misses += misses;
}

pub(super) fn remove<S: Handle>(shards: &[Shard<S>], place: Place) -> S {
    shards[place.shard()].lock().remove(place.slot())
}
