//! The segment: the mapping, its geometry, and the operations with their counts.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::figures::{self, AgentState, Census, Counts, Event};
use crate::file;
use crate::fleet::Question;
use crate::futex::{Kernel, Moment};
use crate::header::{HEADER_WORDS, Header, whole_bytes};
use crate::mapping::{self, Mapping};
use crate::slots::{BUCKET_WORDS, Bucket, Forgotten, Name, Put, Record, Refused};

/// Memory that processes share, with records under names.
pub struct Segment {
    mapping: Mapping,
    /// From the size of the mapping, so that nobody can change it.
    buckets: usize,
    home: u64,
    /// It has a path, so that an agent may find it.
    is_host: bool,
}

/// The end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// There is an answer: the record may be in the segment by now.
    Met,
    /// The deadline has come.
    Missed,
    /// Nobody waits at present, since several deadlines in a row were missed.
    Open,
}

impl Segment {
    /// The size that serves most machines: 131,056 slots.
    pub const DEFAULT_BYTES: u64 = 64 << 20;

    /// Makes a segment of at most `bytes` for this process and its children. The memory is reserved now; each page is taken
    /// by the first operation that uses it.
    pub fn family(bytes: u64) -> Result<Self, Error> {
        let bytes = whole_bytes(bytes)?;
        let mapping = Mapping::anonymous(bytes).map_err(Error::Map)?;
        let home = mapping::random().map_err(Error::Map)?;
        Header::split(mapping.words()).0.write(bytes, home);
        Ok(Self::new(mapping, home, false))
    }

    /// Opens the segment at a path. If there is none, makes one of at most `bytes`, with mode 0600 and all its room
    /// allocated.
    ///
    /// An existing file must have this size. It must have mode 0600 and belong to this process's user or to root; or
    /// have mode 0660, belong to one of this process's groups (any, for root), as an agent makes it, and lie in a folder that
    /// others cannot write to.
    pub fn host(path: &Path, bytes: u64) -> Result<Self, Error> {
        let opened = file::open(path, whole_bytes(bytes)?, None)?;
        Ok(Self::of_file(opened.mapping, opened.home))
    }

    pub(crate) fn of_file(mapping: Mapping, home: u64) -> Self {
        Self::new(mapping, home, true)
    }

    fn new(mapping: Mapping, home: u64, is_host: bool) -> Self {
        let words = mapping.bytes() / size_of::<u64>() - HEADER_WORDS;
        Self { mapping, buckets: words / BUCKET_WORDS, home, is_host }
    }

    /// Puts a record under a name until its expiry; a former record of the name is replaced. If the bucket is full,
    /// what has expired leaves first, then what expires first.
    pub fn put(&self, name: Name, record: &[u8], expiry: u64, now: u64) -> Result<Put, Refused> {
        let result = self.bucket(name).put(name, record, expiry, now);
        self.count(name, if result.is_ok() { Event::Put } else { Event::Refused });
        if result.is_ok_and(|put| put.evicted) {
            self.count(name, Event::Evicted);
        }
        result
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
        self.forget_in(self.bucket(name), name, until, now);
    }

    /// The same for a name that no other machine knows: the agent need not tell it. (One that begins later tells it still.)
    pub fn forget_here(&self, name: Name, until: u64, now: u64) {
        self.forget_in(self.bucket(name).without_marks(), name, until, now);
    }

    fn forget_in(&self, bucket: Bucket<'_>, name: Name, until: u64, now: u64) {
        let event = match bucket.forget(name, until, now) {
            Forgotten::Dead { evicted: false } => None,
            Forgotten::Dead { evicted: true } => Some(Event::Evicted),
            Forgotten::Marked => Some(Event::Marked),
        };
        for event in [Some(Event::Forgotten), event].into_iter().flatten() {
            self.count(name, event);
        }
    }

    /// Returns whether a name was taken or forgotten, for somebody who has what was put from elsewhere. In doubt it was.
    pub fn is_gone(&self, name: Name, now: u64) -> bool {
        self.bucket(name).is_gone(name, now)
    }

    /// Returns whether it is known for certain that a name was taken or forgotten.
    pub fn is_dead(&self, name: Name, now: u64) -> bool {
        self.bucket(name).is_dead(name, now)
    }

    /// Returns whether another machine has removed a name after its record was evicted here, for somebody who has what was
    /// made in this second from elsewhere. In doubt it has.
    pub fn is_killed(&self, name: Name, made: u64, now: u64) -> bool {
        self.bucket(name).is_killed(name, made, now)
    }

    /// The number of the last put in this segment. Every put that begins later has a higher one.
    pub fn sequence(&self) -> u64 {
        self.header().sequence().load(Ordering::Relaxed)
    }

    // --- The fleet ---------------------------------------------------------------------------

    /// A random number that was drawn when the segment was made, and is not 0: it tells this segment's records from
    /// others'.
    pub fn home(&self) -> u64 {
        self.home
    }

    /// The epoch. A record that was made in an earlier one is revoked.
    pub fn epoch(&self) -> u64 {
        self.header().epoch().load(Ordering::Acquire)
    }

    /// Raises the epoch to this one, unless it is as high already.
    pub fn raise_epoch(&self, epoch: u64) {
        self.header().epoch().fetch_max(epoch, Ordering::AcqRel);
    }

    /// The floor, in seconds since 1970. A record whose origin was published then or earlier is refused, since a removal
    /// of it may have been lost. 0 if none ever was.
    pub fn floor(&self) -> u64 {
        self.header().floor().load(Ordering::Acquire)
    }

    /// Raises the floor to this second, unless it is as high already.
    pub fn raise_floor(&self, second: u64) {
        self.header().floor().fetch_max(second, Ordering::AcqRel);
    }

    /// Returns whether there is an agent that can reach the engine, as far as the header says.
    pub fn can_ask(&self) -> bool {
        self.has_agent() && self.header().upstream().load(Ordering::Relaxed) == 1
    }

    /// Returns whether an agent was ever attached.
    pub fn has_agent(&self) -> bool {
        self.header().agent().load(Ordering::Relaxed) != 0
    }

    /// Asks the fleet for the record of a name that was not found here. No system call, no wait: if there is one, the
    /// agent puts it into the segment a little later. `None` if there is no agent, or it cannot reach the engine.
    ///
    /// A question may be lost, if another is asked at the same time.
    pub fn ask(&self, name: Name) -> Option<Question> {
        self.can_ask().then(|| self.header().cells().ask(name))
    }

    /// Waits for an answer until the deadline, and wakes the agent if it sleeps: two system calls at most, if no
    /// signal comes. `now` is the time, by which of all processes one each second waits where deadlines were missed.
    ///
    /// Whatever the answer is, only a [`get`](Self::get) says whether there is a record.
    pub fn wait(&self, question: Question, now: Moment, deadline: Moment) -> Answer {
        let (cells, breaker) = (self.header().cells(), self.header().breaker());
        if !breaker.permits(now.millis()) {
            return Answer::Open;
        }
        if cells.wait(question, &Kernel, deadline) {
            breaker.meet();
            return Answer::Met;
        }
        breaker.miss(deadline.millis());
        Answer::Missed
    }

    /// What the header says about the agent.
    pub fn agent(&self) -> AgentState {
        AgentState::read(self.header())
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

    pub(crate) fn count(&self, name: Name, event: Event) {
        figures::count(self.header(), name, event);
    }

    pub(crate) fn header(&self) -> Header<'_> {
        Header::split(self.mapping.words()).0
    }

    pub(crate) fn buckets(&self) -> usize {
        self.buckets
    }

    pub(crate) fn bucket(&self, name: Name) -> Bucket<'_> {
        self.bucket_at(name.bucket(self.buckets))
    }

    pub(crate) fn bucket_at(&self, index: usize) -> Bucket<'_> {
        let (header, buckets) = Header::split(self.mapping.words());
        let words = &buckets[index * BUCKET_WORDS..][..BUCKET_WORDS];
        let bucket = Bucket::new(words, header.sequence());
        if self.is_host { bucket.with_marks(header.dirty(), index) } else { bucket }
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
