//! Removal: of what is due, to make room, and one by one. Sessions are detached in batches and handed to the caller.

use super::expiry::{Cutoff, Expiry};
use super::key::Key;
use super::order::Order;
use super::place::Place;
use super::sync::{MutexGuard, Ordering};
use super::types::Handle;
use super::whole::{Cache, remove};

/// Most sessions that one hold of the order's lock detaches.
///
/// A few dozen: the lock is held for microseconds, and taking it is still cheap beside the work.
/// (Models have few sessions, and are to see several batches.)
pub const BATCH: usize = if cfg!(sslsweep_model) { 2 } else { 32 };

impl<S: Handle> Cache<S> {
    /// Evicts sessions until `limit` are left, at most [`BATCH`] of them.
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

    /// Returns whether a session is due. Takes no lock.
    pub fn is_due(&self, cutoff: Cutoff) -> bool {
        let earliest = Expiry::from_seconds(self.earliest.load(Ordering::Acquire));
        cutoff.reaches(earliest) && !self.is_empty()
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
        let (slot, session) = shard.lock().take(key, wanted)?;
        order.unlink(key.place(slot));
        order.statistics.taken += 1;
        self.publish(&order);
        if order.len() == 0 {
            self.give_storage_up(order);
        }
        Some(session)
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
}
