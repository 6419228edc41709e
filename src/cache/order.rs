//! The order of expiry: each second that something expires at is a bucket, first stored first.
//!
//! A heap has the earliest bucket on top and an index finds the bucket of a second, so that a store
//! costs the same whatever the mix of timeouts. A bucket that was emptied out of turn stays until it
//! comes to the top or until such buckets are the majority; they are then swept out together.
//! When sessions are evicted by their last use, a second list through the same places has them in
//! that order.
//! (A `BTreeMap` of buckets was rejected: it can't report a lack of memory, and finds slower.)

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::expiry::{Cutoff, Expiry};
use super::index::{Index, MOST_SLOTS, Vacancy};
use super::key::KeyMaker;
use super::links::{Links, List};
use super::place::Place;
use super::slots::Slots;
use super::types::{Eviction, Statistics};

/// Emptied buckets that are left alone whatever their share.
const FEW_BUCKETS: usize = 64;

/// Nodes that an empty cache may keep for its next sessions: none in a model, which is to see it give them up.
const FEW_NODES: usize = if cfg!(sslsweep_model) { 0 } else { 1024 };

#[derive(Debug, Default)]
pub(super) struct Order {
    /// From each place to its neighbours in its bucket, and to the bucket.
    links: Links<u32>,
    buckets: Slots<Bucket>,
    by_expiry: Index,
    /// The second that was asked for last, with its bucket or the room for one: a store asks twice, and sessions of one second
    /// come together.
    found: Option<(Expiry, Result<u32, Vacancy>)>,
    heap: BinaryHeap<Reverse<(Expiry, u32)>>,
    /// Buckets with nothing in them.
    emptied: usize,
    len: usize,
    recent: Option<Recent>,
    pub(super) statistics: Statistics,
    /// Rises with each session that comes or goes, and never falls.
    pub(super) changes: u64,
}

#[derive(Debug)]
struct Bucket {
    expiry: Expiry,
    places: List,
    /// Places in the list.
    len: u32,
}

/// All places in the order of their last use.
#[derive(Debug)]
struct Recent {
    links: Links<()>,
    places: List,
}

impl Default for Recent {
    fn default() -> Self {
        Self { links: Links::default(), places: List::EMPTY }
    }
}

impl Order {
    pub(super) fn new(eviction: Eviction) -> Self {
        let recent = match eviction {
            Eviction::EarliestExpiry => None,
            Eviction::LeastRecentlyUsed => Some(Recent::default()),
        };
        Self { recent, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The earliest expiry; `NEVER` when nothing is stored.
    pub(super) fn earliest(&self) -> Expiry {
        self.heap.peek().map_or(Expiry::NEVER, |Reverse((expiry, _))| *expiry)
    }

    /// The expiry of a place.
    pub(super) fn expiry(&self, place: Place) -> Expiry {
        self.buckets[self.links.node(place).value].expiry
    }

    /// Makes sure that the next [`Order::append`] in this shard and at this second needs no memory.
    #[inline]
    pub(super) fn reserve(&mut self, shard: usize, expiry: Expiry) -> Option<()> {
        self.links.reserve(shard)?;
        if let Some(recent) = &mut self.recent {
            recent.links.reserve(shard)?;
        }
        self.reserve_bucket(expiry)
    }

    /// Makes sure that the next [`Order::bucket`] of this second needs no memory.
    #[inline]
    fn reserve_bucket(&mut self, expiry: Expiry) -> Option<()> {
        match self.found {
            Some((found, Ok(_))) if found == expiry => Some(()),
            _ => self.find_or_reserve(expiry),
        }
    }

    #[inline(never)]
    fn find_or_reserve(&mut self, expiry: Expiry) -> Option<()> {
        self.found = None;
        let found = match self.find_or_vacancy(expiry) {
            Ok(bucket) => Ok(bucket),
            Err(vacancy) => {
                self.buckets.reserve(MOST_SLOTS)?;
                self.heap.try_reserve(1).ok()?;
                Err(vacancy?)
            }
        };
        self.found = Some((expiry, found));
        Some(())
    }

    /// Appends a place that is not in the order yet; memory was reserved.
    #[inline(always)]
    pub(super) fn append(&mut self, place: Place, expiry: Expiry) {
        let bucket = self.bucket(expiry);
        self.link(place, bucket);
        if let Some(recent) = &mut self.recent {
            recent.links.append(&mut recent.places, place, ());
        }
        self.len += 1;
        self.changes += 1;
    }

    /// Moves a place to the end of the bucket of `expiry`. `None`, and unmoved, without memory.
    pub(super) fn append_again(&mut self, place: Place, expiry: Expiry) -> Option<()> {
        self.reserve_bucket(expiry)?;
        let bucket = self.bucket(expiry);
        let is_emptied = self.cut(place);
        self.link(place, bucket);
        if is_emptied {
            self.tidy();
        }
        Some(())
    }

    /// As [`Order::append_again`], but a place that is in that bucket already stays where it is.
    pub(super) fn move_to(&mut self, place: Place, expiry: Expiry) -> Option<()> {
        if self.expiry(place) == expiry {
            return Some(());
        }
        self.append_again(place, expiry)
    }

    /// Takes a place out of the order.
    #[inline]
    pub(super) fn unlink(&mut self, place: Place) {
        let is_emptied = self.cut(place);
        if let Some(recent) = &mut self.recent {
            let node = recent.links.node(place);
            recent.links.cut(&mut recent.places, node);
        }
        self.len -= 1;
        self.changes += 1;
        if is_emptied {
            self.tidy();
        }
    }

    /// Takes the first place out of the order, if it is due.
    pub(super) fn pop(&mut self, cutoff: Cutoff) -> Option<Place> {
        let &Reverse((expiry, bucket)) = self.heap.peek()?;
        if !cutoff.reaches(expiry) {
            return None;
        }
        let place = self.buckets[bucket].places.first.some()?;
        self.unlink(place);
        Some(place)
    }

    /// Takes out the place to be evicted: the one used least recently where that is
    /// known, else what expires first.
    pub(super) fn pop_for_room(&mut self) -> Option<Place> {
        let Some(recent) = &self.recent else { return self.pop(Cutoff::All) };
        let place = recent.places.first.some()?;
        self.unlink(place);
        Some(place)
    }

    /// Notes that a place is being used.
    pub(super) fn use_again(&mut self, place: Place) {
        if let Some(recent) = &mut self.recent {
            let node = recent.links.node(place);
            recent.links.cut(&mut recent.places, node);
            recent.links.append(&mut recent.places, place, ());
        }
    }

    /// Visits the expiry of some buckets and the number of their places, from bucket number `from` on. Returns
    /// where to go on.
    pub(super) fn visit_buckets(
        &self,
        from: u32,
        most: u32,
        visit: &mut impl FnMut(Expiry, u64),
    ) -> Option<u32> {
        let (until, end) = (from.saturating_add(most), self.buckets.end());
        for bucket in (from..until.min(end)).filter_map(|number| self.buckets.get(number)) {
            if bucket.len > 0 {
                visit(bucket.expiry, u64::from(bucket.len));
            }
        }
        (until < end).then_some(until)
    }

    /// Returns whether an empty order holds more storage than it should keep.
    pub(super) fn is_roomy(&self) -> bool {
        self.links.capacity() > FEW_NODES || self.buckets.capacity() > FEW_NODES
    }

    /// Gives up the storage, and what is in it.
    pub(super) fn take_storage(&mut self) -> impl Sized + use<> {
        let statistics = self.statistics;
        let changes = self.changes + u64::from(self.len > 0);
        let recent = self.recent.as_ref().map(|_| Recent::default());
        std::mem::replace(self, Self { statistics, changes, recent, ..Self::default() })
    }

    /// Seconds that have a bucket.
    #[cfg(test)]
    pub(super) fn deadlines(&self) -> usize {
        self.buckets.len()
    }

    fn find(&self, expiry: Expiry) -> Option<u32> {
        let is_it = |bucket| self.buckets.get(bucket).is_some_and(|it| it.expiry == expiry);
        self.by_expiry.find(KeyMaker::new()?.hash_of(expiry), is_it)
    }

    /// The same, or room in the index. `Err(None)`: out of memory, which is not needed if there was room before, or a bucket of
    /// this second that has been dropped since, as its cell is stale.
    #[inline]
    fn find_or_vacancy(&mut self, expiry: Expiry) -> Result<u32, Option<Vacancy>> {
        let maker = KeyMaker::new().ok_or(None)?;
        let Self { by_expiry, buckets, .. } = self;
        let is_it = |number| buckets.get(number).is_some_and(|bucket| bucket.expiry == expiry);
        let live = |number| buckets.get(number).map(|bucket| maker.hash_of(bucket.expiry));
        by_expiry.find_or_reserve(maker.hash_of(expiry), is_it, live, buckets.len())
    }

    /// The bucket of a second, for which memory was reserved: so if there is one, it was found then.
    #[inline]
    fn bucket(&mut self, expiry: Expiry) -> u32 {
        match self.found {
            Some((found, Ok(bucket))) if found == expiry => bucket,
            _ => self.make_bucket(expiry),
        }
    }

    #[inline(never)]
    fn make_bucket(&mut self, expiry: Expiry) -> u32 {
        let vacancy = match self.found.take() {
            Some((found, Err(vacancy))) if found == expiry => vacancy,
            _ => match self.find_or_vacancy(expiry) {
                Err(Some(vacancy)) => vacancy,
                _ => unreachable!("memory was reserved, and nothing found"),
            },
        };
        let bucket = self.buckets.insert(Bucket { expiry, places: List::EMPTY, len: 0 });
        self.by_expiry.insert(vacancy, bucket);
        self.heap.push(Reverse((expiry, bucket)));
        self.emptied += 1;
        self.found = Some((expiry, Ok(bucket)));
        bucket
    }

    /// Puts a place at the end of a bucket.
    #[inline]
    fn link(&mut self, place: Place, number: u32) {
        let bucket = &mut self.buckets[number];
        self.emptied -= usize::from(bucket.places.is_empty());
        bucket.len += 1;
        self.links.append(&mut bucket.places, place, number);
    }

    /// Takes a place out of its bucket. Returns whether nothing is left there.
    #[inline]
    fn cut(&mut self, place: Place) -> bool {
        let node = self.links.node(place);
        let bucket = &mut self.buckets[node.value];
        self.links.cut(&mut bucket.places, node);
        bucket.len -= 1;
        let is_emptied = bucket.places.is_empty();
        self.emptied += usize::from(is_emptied);
        is_emptied
    }

    /// Drops the emptied buckets on top of the heap, and all of them once they are too many.
    #[inline(never)]
    fn tidy(&mut self) {
        while let Some(&Reverse((_, bucket))) = self.heap.peek() {
            if !self.buckets[bucket].places.is_empty() {
                break;
            }
            self.heap.pop();
            self.drop_bucket(bucket);
        }
        if self.emptied > FEW_BUCKETS && self.emptied > self.buckets.len() / 2 {
            let mut heap = std::mem::take(&mut self.heap);
            heap.retain(|&Reverse((_, bucket))| {
                let keep = !self.buckets[bucket].places.is_empty();
                if !keep {
                    self.drop_bucket(bucket);
                }
                keep
            });
            self.heap = heap;
        }
    }

    fn drop_bucket(&mut self, number: u32) {
        let Bucket { expiry, .. } = self.buckets.remove(number);
        self.found.take_if(|(found, _)| *found == expiry);
        self.emptied -= 1;
    }

    /// All places, each linked once and both ways.
    pub(super) fn validate(&self) -> Result<HashSet<Place>, String> {
        let mut places = HashSet::new();
        let mut emptied = 0;
        for (number, bucket) in self.buckets.iter() {
            if self.find(bucket.expiry) != Some(number) {
                return Err(format!("bucket {number} is not found by its expiry"));
            }
            emptied += usize::from(bucket.places.is_empty());
            let linked = self.links.validate(&bucket.places)?;
            if linked.len() != bucket.len as usize {
                return Err(format!("bucket {number} counts {}, not {}", bucket.len, linked.len()));
            }
            for place in linked {
                if self.links.node(place).value != number || !places.insert(place) {
                    return Err(format!("{place:?} is not in bucket {number} alone"));
                }
            }
        }
        if let Some(recent) = &self.recent {
            let used = recent.links.validate(&recent.places)?;
            if used.len() != places.len() || !used.iter().all(|place| places.contains(place)) {
                return Err("the order of use has other places".into());
            }
        }
        let found_again = |(expiry, found): &(Expiry, Result<u32, Vacancy>)| {
            self.find(*expiry) == found.as_ref().ok().copied()
        };
        if !self.found.as_ref().is_none_or(found_again) {
            return Err("what was found last is not what would be found".into());
        }
        let heap: HashSet<u32> = self.heap.iter().map(|&Reverse((_, bucket))| bucket).collect();
        if heap.len() != self.heap.len() || heap.len() != self.buckets.len() {
            return Err("heap and buckets differ".into());
        }
        if places.len() != self.len || emptied != self.emptied {
            return Err(format!("{} linked of {}", places.len(), self.len));
        }
        if self
            .heap
            .peek()
            .is_some_and(|&Reverse((_, bucket))| self.buckets[bucket].places.is_empty())
        {
            return Err("an emptied bucket is on top of the heap".into());
        }
        Ok(places)
    }
}
