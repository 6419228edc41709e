//! The operations on a bucket.

use super::dirty::Dirty;
use super::record::{Change, Name, ROOM, Record, Refused};
use super::slot::{Claim, Contents, Head, MARK, SLOT_WORDS, Slot, State};
use super::sync::{AtomicU64, Ordering, fence};

/// The slots of a bucket. (A model has fewer, or there would be too many schedules.)
pub const WAYS: usize = if cfg!(sslsweep_model) { 2 } else { 8 };

/// The words of a bucket. (A model has no third slot, and one more word.)
pub const BUCKET_WORDS: usize = WAYS * SLOT_WORDS + if cfg!(sslsweep_model) { 1 } else { 0 };

/// The word of the last kill without a record.
const KILLED: usize = if cfg!(sslsweep_model) { WAYS * SLOT_WORDS } else { 2 * SLOT_WORDS + MARK };

/// The times that an operation looks for a slot again after another process was faster.
const ATTEMPTS: usize = WAYS;

/// A bucket, the sequence number of the segment's puts, and where changes are marked.
#[derive(Clone, Copy)]
pub struct Bucket<'a> {
    words: &'a [AtomicU64],
    sequence: &'a AtomicU64,
    /// With the bucket's number.
    dirty: Option<(Dirty<'a>, usize)>,
}

/// A record was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// An unexpired record of another name has left for it.
    pub evicted: bool,
}

/// What became of a record of the fleet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It was put.
    Put {
        /// An unexpired record of another name has left for it.
        evicted: bool,
    },
    /// There is a record of the name, which stays.
    Present,
}

/// A slot changes at this moment: look again.
pub(super) struct Torn;

/// How a name was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// A slot of the name is dead.
    Dead {
        /// An unexpired record of another name has left for it.
        evicted: bool,
    },
    /// No slot could be had, and the bucket shows nothing that was published before.
    Marked,
}

/// The result of a search for a slot.
struct Search<'a> {
    /// The latest expiry of a dead slot of the name; 0 if there is none.
    dead_until: u64,
    room: Option<Room<'a>>,
}

/// The slot that can be given up most easily.
struct Room<'a> {
    slot: Slot<'a>,
    head: Head,
    cost: Cost,
}

/// The loss if a slot is reclaimed, in rising order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// The record that is replaced.
    Same,
    Nothing,
    /// A record that expires then.
    Record {
        expiry: u64,
    },
}

impl<'a> Room<'a> {
    fn claim(&self) -> Option<Claim<'a>> {
        self.slot.claim(&self.head)
    }

    fn evicts(&self) -> bool {
        matches!(self.cost, Cost::Record { .. })
    }
}

impl<'a> Bucket<'a> {
    /// The bucket of these [`BUCKET_WORDS`] words, whose changes nobody is told.
    pub fn new(words: &'a [AtomicU64], sequence: &'a AtomicU64) -> Self {
        Self { words, sequence, dirty: None }
    }

    /// The same, whose changes are marked there if there is an agent. Each bucket has a number of its own.
    pub fn with_marks(self, dirty: Dirty<'a>, number: usize) -> Self {
        Self { dirty: Some((dirty, number)), ..self }
    }

    /// The same, whose changes nobody is told.
    pub fn without_marks(self) -> Self {
        Self { dirty: None, ..self }
    }

    /// Puts a record under its name until its expiry, in the place of a former one of this name.
    pub fn put(self, name: Name, record: &[u8], expiry: u64, now: u64) -> Result<Put, Refused> {
        let contents = self.contents(name, record, expiry, now)?;
        for _ in 0..ATTEMPTS {
            let room = self.room(name, now)?;
            if let Some(claim) = room.claim() {
                claim.publish(contents, State::Live);
                self.mark_changed(room.slot);
                return Ok(Put { evicted: room.evicts() });
            }
        }
        Err(Refused::Contended)
    }

    /// Puts a record that the agent has fetched, unless there is one of the name. Nobody is told.
    pub fn put_fetched(
        self,
        name: Name,
        record: &[u8],
        expiry: u64,
        now: u64,
    ) -> Result<Fetched, Refused> {
        let contents = self.contents(name, record, expiry, now)?;
        for _ in 0..ATTEMPTS {
            let room = self.room(name, now)?;
            if room.cost == Cost::Same {
                return Ok(Fetched::Present);
            }
            if let Some(claim) = room.claim() {
                claim.publish(contents, State::Live);
                return Ok(Fetched::Put { evicted: room.evicts() });
            }
        }
        Err(Refused::Contended)
    }

    fn contents(
        self,
        name: Name,
        record: &[u8],
        expiry: u64,
        now: u64,
    ) -> Result<Contents<'_>, Refused> {
        if record.len() > ROOM {
            return Err(Refused::TooLarge);
        }
        if expiry <= now {
            return Err(Refused::Expired);
        }
        // Before anything is read: a forget that does not find this record hides what has an earlier number.
        Ok(Contents { name, expiry, number: self.next_number(), record })
    }

    fn room(self, name: Name, now: u64) -> Result<Room<'a>, Refused> {
        let search = self.search(name, now);
        if search.dead_until > now {
            return Err(Refused::Dead);
        }
        search.room.ok_or(Refused::Full)
    }

    /// Copies the record of a name.
    pub fn get(self, name: Name, now: u64) -> Option<Record> {
        let mut found: Option<(Head, Record)> = None;
        for (slot, head, is_dead) in self.slots_of(name, now) {
            let record = slot.copy();
            if is_dead || !slot.is_unchanged(&head) {
                return None;
            }
            // Two puts of one name at once may both have a slot: the later one counts.
            if found.as_ref().is_none_or(|(former, _)| former.number < head.number) {
                found = Some((head, record));
            }
        }
        found.map(|(_, record)| record)
    }

    /// Copies the record of a name and kills it. Of several calls for one record at most one gets it.
    pub fn take(self, name: Name, now: u64) -> Option<Record> {
        let mut taken: Option<(Head, Record)> = None;
        let mut killed = 0;
        for (slot, head, is_dead) in self.slots_of(name, now) {
            let record = slot.copy();
            if is_dead || !slot.kill(&head) {
                return None;
            }
            self.mark_changed(slot);
            killed += 1;
            if taken.as_ref().is_none_or(|(former, _)| former.number < head.number) {
                taken = Some((head, record));
            }
        }
        let (_, record) = taken?;
        // Where a name was put twice, another call may have seen the other record only. Each kills first and looks then,
        // so at least one sees what the other has done, and has nothing.
        fence(Ordering::SeqCst);
        (self.slots_of(name, now).count() == killed).then_some(record)
    }

    /// Makes a name dead until `until`, which is no earlier than the expiry of any record under it: what was put is not
    /// found again, nor what a put publishes that has already begun.
    pub fn forget(self, name: Name, until: u64, now: u64) -> Forgotten {
        for (slot, head, is_dead) in self.slots_of(name, now) {
            // If it has changed meanwhile, the search below finds no dead slot.
            if !is_dead && slot.kill(&head) {
                self.mark_changed(slot);
            }
        }
        if until <= now {
            return Forgotten::Dead { evicted: false };
        }
        for _ in 0..ATTEMPTS {
            let search = self.search(name, now);
            if search.dead_until >= until {
                return Forgotten::Dead { evicted: false };
            }
            let Some(room) = search.room else { break };
            if let Some(claim) = room.claim() {
                let number = self.sequence.load(Ordering::Relaxed);
                claim.publish(Contents { name, expiry: until, number, record: &[] }, State::Dead);
                self.mark_changed(room.slot);
                return Forgotten::Dead { evicted: room.evicts() };
            }
        }
        self.mark().fetch_max(self.next_number(), Ordering::Relaxed);
        Forgotten::Marked
    }

    /// Makes a name that has a record dead until the expiry of the record. Nobody is told. Returns whether there was one.
    ///
    /// A name without a record costs no slot, or others could fill the bucket. Its record may have been evicted, and
    /// somebody may have it from elsewhere: the bucket keeps the time, for [`is_killed`](Self::is_killed).
    pub fn kill(self, name: Name, now: u64) -> bool {
        let live = self.slots_of(name, now).filter(|(_, _, is_dead)| !is_dead);
        let killed = live.fold(false, |killed, (slot, head, _)| slot.kill(&head) || killed);
        if !killed {
            self.killed().fetch_max(now, Ordering::Relaxed);
        }
        killed
    }

    /// Returns whether a kill may have missed the record of a name that was made in this second. In doubt it has: since
    /// then a kill found no record, of any name, and there is none of this name now.
    pub fn is_killed(self, name: Name, made: u64, now: u64) -> bool {
        made <= self.killed().load(Ordering::Relaxed) && self.slots_of(name, now).next().is_none()
    }

    /// The second of the last kill that found no record.
    fn killed(self) -> &'a AtomicU64 {
        &self.words[KILLED]
    }

    /// Returns the state of the name in this slot, for the agent that has found the slot marked, with a bit for each
    /// slot that holds the name. `None` if there is nothing that anybody has to know.
    pub(super) fn look(self, way: usize, now: u64) -> Result<Option<(Change, u64)>, Torn> {
        let Some(slot) = self.slots().nth(way) else { return Ok(None) };
        let head = slot.head();
        let state = head.state(now, self.mark().load(Ordering::Relaxed));
        // Whoever writes it marks it again.
        if matches!(state, State::Empty | State::Busy) {
            return Ok(None);
        }
        if !slot.is_unchanged(&head) {
            return Err(Torn);
        }
        let name = head.name;
        let mut slots = 0;
        let mut live: Option<(Head, Record)> = None;
        let mut dead: Option<(u64, Option<Record>)> = None;
        for (slot, head, is_dead) in self.slots_of(name, now) {
            let record = slot.copy();
            if !slot.is_unchanged(&head) {
                return Err(Torn);
            }
            slots |= 1 << slot.way;
            if is_dead {
                let (until, former) = dead.unwrap_or_default();
                let record = Some(record).filter(|record| !record.bytes().is_empty());
                dead = Some((until.max(head.expiry), former.or(record)));
            } else if live.as_ref().is_none_or(|(former, _)| former.number < head.number) {
                live = Some((head, record));
            }
        }
        let change = match (dead, live) {
            (Some((until, record)), _) => Change::Dead { name, until, record },
            (None, Some((head, record))) => {
                Change::Live { name, record, expiry: head.expiry, number: head.number }
            }
            (None, None) => return Err(Torn),
        };
        Ok(Some((change, slots)))
    }

    /// Marks slots as if they had changed.
    pub(super) fn mark_slots(self, slots: u64) {
        if let Some((dirty, number)) = self.dirty {
            dirty.mark(number, self.changed(), slots);
        }
    }

    /// Marks the slots of a name as if they had changed.
    pub fn mark_name(self, name: Name, now: u64) {
        let slots = self.slots_of(name, now).fold(0, |slots, (slot, _, _)| slots | 1 << slot.way);
        if slots != 0 {
            self.mark_slots(slots);
        }
    }

    /// Marks a slot that has just changed, if there is an agent.
    fn mark_changed(self, slot: Slot<'_>) {
        if self.dirty.is_some_and(|(dirty, _)| dirty.is_wanted()) {
            self.mark_slots(1 << slot.way);
        }
    }

    /// The mask of the slots that have changed.
    pub(super) fn changed(self) -> &'a AtomicU64 {
        &self.words[SLOT_WORDS + MARK]
    }

    /// Returns whether a name was taken or forgotten. In doubt it was: where a forget has found no slot, every name
    /// without a record counts.
    pub fn is_gone(self, name: Name, now: u64) -> bool {
        let mut live = false;
        for (slot, head, is_dead) in self.slots_of(name, now) {
            if is_dead && slot.is_unchanged(&head) {
                return true;
            }
            live = true;
        }
        !live && self.mark().load(Ordering::Relaxed) > 0
    }

    /// Returns whether a name was taken or forgotten, and has a dead slot.
    pub fn is_dead(self, name: Name, now: u64) -> bool {
        self.slots_of(name, now).any(|(_, _, is_dead)| is_dead)
    }

    /// The state of each slot at this time. A record that has expired counts as empty.
    pub fn states(self, now: u64) -> impl Iterator<Item = State> {
        let mark = self.mark().load(Ordering::Relaxed);
        self.slots().map(move |slot| slot.head().state(now, mark))
    }

    fn slots(self) -> impl Iterator<Item = Slot<'a>> {
        self.words.chunks_exact(SLOT_WORDS).enumerate().map(|(way, words)| Slot { words, way })
    }

    /// Nothing is shown whose put has an earlier number.
    fn mark(self) -> &'a AtomicU64 {
        &self.words[MARK]
    }

    fn next_number(self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// The live and dead slots that seem to hold this name, and whether they are dead.
    fn slots_of(self, name: Name, now: u64) -> impl Iterator<Item = (Slot<'a>, Head, bool)> {
        let mark = self.mark().load(Ordering::Relaxed);
        self.slots().filter_map(move |slot| {
            let head = slot.head();
            match head.state(now, mark) {
                State::Empty | State::Busy => None,
                state => (head.name == name).then_some((slot, head, state == State::Dead)),
            }
        })
    }

    /// Searches for a slot for this name: never one that is busy, or dead and unexpired.
    fn search(self, name: Name, now: u64) -> Search<'a> {
        let mark = self.mark().load(Ordering::Relaxed);
        let mut search = Search { dead_until: 0, room: None };
        for slot in self.slots() {
            let head = slot.head();
            let cost = match head.state(now, mark) {
                State::Busy => continue,
                State::Dead => {
                    if head.name == name {
                        search.dead_until = search.dead_until.max(head.expiry);
                    }
                    continue;
                }
                State::Empty => Cost::Nothing,
                State::Live if head.name == name => Cost::Same,
                State::Live => Cost::Record { expiry: head.expiry },
            };
            if search.room.as_ref().is_none_or(|room| cost < room.cost) {
                search.room = Some(Room { slot, head, cost });
            }
        }
        search
    }
}
