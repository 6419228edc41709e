//! The order of expiry: each second that something expires at is a bucket, first stored first.
//!
//! A heap has the earliest bucket on top and a table finds the bucket of a second, so that a store
//! costs the same whatever the mix of timeouts. A bucket that was emptied out of turn stays until it
//! comes to the top or until such buckets are the majority; they are then swept out together.
//! (A `BTreeMap` of buckets was rejected: it can't report a lack of memory, and finds slower.)

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use hashbrown::HashTable;

use super::Statistics;
use super::count;
use super::expiry::{Cutoff, Expiry};
use super::place::{Place, SHARDS};
use super::slots::{Slots, grow};

/// Emptied buckets that are left alone whatever their share.
const FEW_BUCKETS: usize = 64;

/// Nodes that an empty cache may keep for its next sessions: none in a model, which is to see it give them up.
const FEW_NODES: usize = if cfg!(sslsweep_model) { 0 } else { 1024 };

#[derive(Debug, Default)]
pub(super) struct Order {
    /// Nodes by place: shard, then slot. Empty until the first store.
    nodes: Vec<Vec<Node>>,
    buckets: Slots<Bucket>,
    by_expiry: HashTable<u32>,
    /// The bucket that was found last: a store asks twice, and sessions of one second come together.
    found: Option<(Expiry, u32)>,
    heap: BinaryHeap<Reverse<(Expiry, u32)>>,
    /// Buckets with nothing in them.
    emptied: usize,
    len: usize,
    pub(super) statistics: Statistics,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    previous: Place,
    next: Place,
    bucket: u32,
}

#[derive(Debug)]
struct Bucket {
    expiry: Expiry,
    first: Place,
    last: Place,
}

impl Bucket {
    fn is_empty(&self) -> bool {
        self.first == Place::NONE
    }
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The earliest expiry; `NEVER` when nothing is stored.
    pub(super) fn earliest(&self) -> Expiry {
        self.heap.peek().map_or(Expiry::NEVER, |Reverse((expiry, _))| *expiry)
    }

    /// The expiry of a place.
    pub(super) fn expiry(&self, place: Place) -> Expiry {
        self.buckets[self.node(place).bucket].expiry
    }

    /// Makes sure that the next [`Order::append`] in this shard and at this second needs no memory.
    pub(super) fn reserve(&mut self, shard: usize, expiry: Expiry) -> Option<()> {
        if self.nodes.is_empty() {
            self.nodes.try_reserve_exact(SHARDS).ok()?;
            self.nodes.resize_with(SHARDS, Vec::new);
        }
        grow(&mut self.nodes[shard], 1)?;
        self.reserve_bucket(expiry)
    }

    fn reserve_bucket(&mut self, expiry: Expiry) -> Option<()> {
        if self.find_again(expiry).is_some() {
            return Some(());
        }
        self.buckets.reserve(u32::MAX)?;
        self.heap.try_reserve(1).ok()?;
        let buckets = &self.buckets;
        self.by_expiry.try_reserve(1, |&bucket| hash(buckets[bucket].expiry)).ok()
    }

    /// Appends a place that is not in the order yet; memory was reserved.
    pub(super) fn append(&mut self, place: Place, expiry: Expiry) {
        let bucket = self.find_or_make(expiry);
        self.link(place, bucket);
        self.len += 1;
    }

    /// Moves a place to the end of the bucket of `expiry`. `None`, and unmoved, without memory.
    pub(super) fn append_again(&mut self, place: Place, expiry: Expiry) -> Option<()> {
        self.reserve_bucket(expiry)?;
        let bucket = self.find_or_make(expiry);
        self.cut(place);
        self.link(place, bucket);
        self.tidy();
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
    pub(super) fn unlink(&mut self, place: Place) {
        self.cut(place);
        self.len -= 1;
        self.tidy();
    }

    /// Takes the first place out of the order, if it is due.
    pub(super) fn pop(&mut self, cutoff: Cutoff) -> Option<Place> {
        let &Reverse((expiry, bucket)) = self.heap.peek()?;
        if !cutoff.reaches(expiry) {
            return None;
        }
        let place = self.buckets[bucket].first.some()?;
        self.unlink(place);
        Some(place)
    }

    /// Whether an empty order holds more storage than it should keep.
    pub(super) fn is_roomy(&self) -> bool {
        self.nodes.iter().map(Vec::capacity).sum::<usize>() > FEW_NODES
            || self.buckets.capacity() > FEW_NODES
    }

    /// Gives up the storage of an empty order.
    pub(super) fn take_storage(&mut self) -> impl Sized + use<> {
        debug_assert_eq!(self.len, 0);
        let statistics = self.statistics;
        std::mem::replace(self, Self { statistics, ..Self::default() })
    }

    /// Seconds that have a bucket.
    #[cfg(test)]
    pub(super) fn deadlines(&self) -> usize {
        self.buckets.len()
    }

    fn node(&self, place: Place) -> &Node {
        count::touch();
        &self.nodes[place.shard()][place.slot() as usize]
    }

    fn node_mut(&mut self, place: Place) -> &mut Node {
        count::touch();
        &mut self.nodes[place.shard()][place.slot() as usize]
    }

    fn find(&self, expiry: Expiry) -> Option<u32> {
        self.by_expiry.find(hash(expiry), |&bucket| self.buckets[bucket].expiry == expiry).copied()
    }

    fn find_again(&mut self, expiry: Expiry) -> Option<u32> {
        match self.found {
            Some((found, bucket)) if found == expiry => Some(bucket),
            _ => {
                let bucket = self.find(expiry)?;
                self.found = Some((expiry, bucket));
                Some(bucket)
            }
        }
    }

    fn find_or_make(&mut self, expiry: Expiry) -> u32 {
        if let Some(bucket) = self.find_again(expiry) {
            return bucket;
        }
        let bucket = self.buckets.insert(Bucket { expiry, first: Place::NONE, last: Place::NONE });
        let buckets = &self.buckets;
        self.by_expiry.insert_unique(hash(expiry), bucket, |&b| hash(buckets[b].expiry));
        self.heap.push(Reverse((expiry, bucket)));
        self.emptied += 1;
        bucket
    }

    /// Puts a place at the end of a bucket.
    fn link(&mut self, place: Place, number: u32) {
        let bucket = &mut self.buckets[number];
        let previous = std::mem::replace(&mut bucket.last, place);
        let node = Node { previous, next: Place::NONE, bucket: number };
        match previous.some() {
            Some(previous) => self.node_mut(previous).next = place,
            None => {
                bucket.first = place;
                self.emptied -= 1;
            }
        }
        let nodes = &mut self.nodes[place.shard()];
        match nodes.get_mut(place.slot() as usize) {
            Some(free) => *free = node,
            // A shard's slots are numbered without gaps, so a new slot is the next node.
            None => nodes.push(node),
        }
    }

    /// Takes a place out of its bucket.
    fn cut(&mut self, place: Place) {
        let Node { previous, next, bucket } = *self.node(place);
        match previous.some() {
            Some(previous) => self.node_mut(previous).next = next,
            None => self.buckets[bucket].first = next,
        }
        match next.some() {
            Some(next) => self.node_mut(next).previous = previous,
            None => self.buckets[bucket].last = previous,
        }
        self.emptied += usize::from(self.buckets[bucket].is_empty());
    }

    /// Drops the emptied buckets on top of the heap, and all of them once they are too many.
    fn tidy(&mut self) {
        while let Some(&Reverse((_, bucket))) = self.heap.peek() {
            if !self.buckets[bucket].is_empty() {
                break;
            }
            self.heap.pop();
            self.drop_bucket(bucket);
        }
        if self.emptied > FEW_BUCKETS && self.emptied > self.buckets.len() / 2 {
            let mut heap = std::mem::take(&mut self.heap);
            heap.retain(|&Reverse((_, bucket))| {
                let keep = !self.buckets[bucket].is_empty();
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
        self.found.take_if(|&mut (found, _)| found == expiry);
        match self.by_expiry.find_entry(hash(expiry), |&found| found == number) {
            Ok(found) => found.remove(),
            Err(_) => unreachable!("bucket {number} is not in its table"),
        };
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
            emptied += usize::from(bucket.is_empty());
            let mut previous = Place::NONE;
            let mut at = bucket.first;
            while let Some(place) = at.some() {
                let node = self.node(place);
                if node.previous != previous || node.bucket != number || !places.insert(place) {
                    return Err(format!("{place:?} is wrongly linked in bucket {number}"));
                }
                (previous, at) = (place, node.next);
            }
            if bucket.last != previous {
                return Err(format!("bucket {number} does not end at its last place"));
            }
        }
        if self.found.is_some_and(|(expiry, bucket)| self.find(expiry) != Some(bucket)) {
            return Err("the bucket found last is not what would be found".into());
        }
        let heap: HashSet<u32> = self.heap.iter().map(|&Reverse((_, bucket))| bucket).collect();
        if heap.len() != self.heap.len() || heap.len() != self.buckets.len() {
            return Err("heap and buckets differ".into());
        }
        if places.len() != self.len || emptied != self.emptied {
            return Err(format!("{} linked of {}", places.len(), self.len));
        }
        if self.heap.peek().is_some_and(|&Reverse((_, bucket))| self.buckets[bucket].is_empty()) {
            return Err("an emptied bucket is on top of the heap".into());
        }
        Ok(places)
    }
}

/// Seconds that follow each other are spread by one multiplication; there is nothing to gain for who
/// could choose them, since each costs only a bucket.
fn hash(expiry: Expiry) -> u64 {
    (expiry.seconds() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}
