//! The segment: the mapping, its geometry, and the operations with their counts.

use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::figures::{self, Census, Counts, Event};
use crate::file;
use crate::header::{Header, whole_bytes};
use crate::mapping::Mapping;
use crate::slots::{BUCKET_WORDS, Bucket, Forgotten, Name, Record, Refused};

/// Memory that processes share, with records under names.
pub struct Segment {
    mapping: Mapping,
    /// From the size of the mapping, so that nobody can change it.
    buckets: usize,
}

impl Segment {
    /// The size that serves most machines: 131,064 slots.
    pub const DEFAULT_BYTES: u64 = 64 << 20;

    /// Makes a segment of at most `bytes` for this process and its children. The memory is reserved now; each page is taken
    /// by the first operation that uses it.
    pub fn family(bytes: u64) -> Result<Self, Error> {
        let bytes = whole_bytes(bytes)?;
        let mapping = Mapping::anonymous(bytes).map_err(Error::Map)?;
        Header::split(mapping.words()).0.write(bytes);
        Ok(Self::new(mapping))
    }

    /// Opens the segment at a path. If there is none, makes one of at most `bytes`, with mode 0600 and all its room allocated.
    /// An existing file must have this size, belong to this process's user or to root, and be accessible to its owner alone.
    pub fn host(path: &Path, bytes: u64) -> Result<Self, Error> {
        file::open(path, whole_bytes(bytes)?).map(Self::new)
    }

    fn new(mapping: Mapping) -> Self {
        let buckets = mapping.bytes() / size_of::<u64>() / BUCKET_WORDS - 1;
        Self { mapping, buckets }
    }

    /// Puts a record under a name until its expiry; a former record of the name is replaced. If the bucket is full, what has
    /// expired leaves first, then what expires first.
    pub fn put(&self, name: Name, record: &[u8], expiry: u64, now: u64) -> Result<(), Refused> {
        let result = self.bucket(name).put(name, record, expiry, now);
        self.count(name, if result.is_ok() { Event::Put } else { Event::Refused });
        if result?.evicted {
            self.count(name, Event::Evicted);
        }
        Ok(())
    }

    /// Copies the record of a name, unless it has expired or is dead.
    pub fn get(&self, name: Name, now: u64) -> Option<Record> {
        let found = self.bucket(name).get(name, now);
        self.count(name, if found.is_some() { Event::Hit } else { Event::Miss });
        found
    }

    /// Copies the record of a name and makes the name dead until the record's expiry. Of all calls in all processes at most
    /// one gets it.
    pub fn take(&self, name: Name, now: u64) -> Option<Record> {
        let taken = self.bucket(name).take(name, now);
        self.count(name, if taken.is_some() { Event::Taken } else { Event::Miss });
        taken
    }

    /// Makes a name dead until `until`: no record of it is found, and none is put. `until` is no earlier than the expiry of
    /// any record that was put under the name.
    ///
    /// This cannot fail. If the bucket has no slot for it, everything that was published there before is hidden.
    pub fn forget(&self, name: Name, until: u64, now: u64) {
        let event = match self.bucket(name).forget(name, until, now) {
            Forgotten::Dead { evicted: false } => None,
            Forgotten::Dead { evicted: true } => Some(Event::Evicted),
            Forgotten::Marked => Some(Event::Marked),
        };
        for event in [Some(Event::Forgotten), event].into_iter().flatten() {
            self.count(name, event);
        }
    }

    /// Returns whether a name is dead: forgotten or taken, by any process. (Not where [`Segment::forget`] found no slot.)
    pub fn is_dead(&self, name: Name, now: u64) -> bool {
        self.bucket(name).is_dead(name, now)
    }

    /// The number of the last put in this segment. Every put that begins later has a higher one.
    pub fn sequence(&self) -> u64 {
        self.header().sequence().load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The events since the segment was made, in all processes.
    pub fn counts(&self) -> Counts {
        Counts::read(self.header())
    }

    /// Counts the slots by their state. This reads every bucket, and so every page of the segment takes memory.
    pub fn census(&self, now: u64) -> Census {
        let mut census = Census::default();
        for index in 0..self.buckets {
            census.add(self.bucket_at(index), now);
        }
        census
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.buckets * crate::slots::WAYS
    }

    fn count(&self, name: Name, event: Event) {
        figures::count(self.header(), name, event);
    }

    fn header(&self) -> Header<'_> {
        Header::split(self.mapping.words()).0
    }

    fn bucket(&self, name: Name) -> Bucket<'_> {
        self.bucket_at(name.bucket(self.buckets))
    }

    fn bucket_at(&self, index: usize) -> Bucket<'_> {
        let (header, buckets) = Header::split(self.mapping.words());
        Bucket::new(&buckets[index * BUCKET_WORDS..][..BUCKET_WORDS], header.sequence())
    }

    /// All words, for tests that write anything there.
    #[cfg(test)]
    pub(crate) fn words(&self) -> &[std::sync::atomic::AtomicU64] {
        self.mapping.words()
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Segment({} buckets)", self.buckets)
    }
}
