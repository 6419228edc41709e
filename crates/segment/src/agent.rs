//! The agent's side of a segment.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::error::Error;
use crate::figures::{Event, Position, Tally};
use crate::file;
use crate::futex::{Kernel, Moment};
use crate::header::whole_bytes;
use crate::mapping;
use crate::segment::Segment;
use crate::slots::{Change, Fetched, Name, Passes, Refused};

/// The one agent of a segment that is found by a path: it carries records between the segment and the fleet.
///
/// All threads of the agent may use it at once, with the exceptions that are stated. Nothing here waits for another
/// process.
pub struct Agent {
    segment: Segment,
    path: PathBuf,
    /// Locked as long as it is open.
    file: File,
}

/// A question of a process on this machine, which [`Agent::answer`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The name whose record is asked for.
    pub name: Name,
    /// Where it was asked.
    pub cell: Cell,
}

/// The place of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell(usize);

impl Agent {
    /// Attaches to the segment at a path. If there is none, makes one of at most `bytes` with all its room allocated:
    /// with mode 0600, or with mode 0660 for a group of this id, which the process must be able to give it to. An
    /// existing file must be as it would be made; without a group, as [`Segment::host`] wants it.
    ///
    /// [`Error::Attached`] if another agent is attached: try again, so that the second takes over when the first ends.
    pub fn attach(path: &Path, bytes: u64, group: Option<u32>) -> Result<Self, Error> {
        let opened = file::open(path, whole_bytes(bytes)?, group)?;
        if !mapping::lock(&opened.file).map_err(Error::File)? {
            return Err(Error::Attached);
        }
        let segment = Segment::of_file(opened.mapping, opened.home);
        let agent = Self { segment, path: path.to_owned(), file: opened.file };
        agent.set_upstream(false);
        let header = agent.segment.header();
        header.cells().attach();
        if header.agent().load(Ordering::Relaxed) == 0 {
            // Before the first agent nothing came from a fleet, or went to one.
            agent.told_marks(agent.segment.counts().marked);
        }
        header.dirty().beat();
        Ok(agent)
    }

    /// The segment, for what every process may do with it: the epoch, the floor, counts, and gets.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Returns whether the segment is still the file at its path. If somebody has removed that, processes that start
    /// make or find another segment, so the agent should detach (by a drop) and attach anew.
    pub fn is_in_place(&self) -> bool {
        file::is_at(&self.file, &self.path)
    }

    /// Shows that the agent lives. Call it ten times a second or more, from one thread.
    pub fn beat(&self) {
        self.segment.header().dirty().beat();
    }

    /// Says whether the engine can be reached. While it cannot, no process asks.
    pub fn set_upstream(&self, reached: bool) {
        self.segment.header().upstream().store(u64::from(reached), Ordering::Relaxed);
    }

    // --- What has changed here ---------------------------------------------------------------

    /// The changes of the segment, for one thread, which keeps this as long as it lives. They begin with everything
    /// that is there, so that nothing is missed that happened while there was no agent.
    pub fn changes(&self) -> Changes<'_> {
        Changes { segment: &self.segment, passes: Passes::default() }
    }

    /// Reports a change once more, since it could not be sent: its name's state of then.
    pub fn again(&self, name: Name, now: u64) {
        self.segment.bucket(name).mark_name(name, now);
    }

    /// The forgets that found no slot since [`told_marks`](Self::told_marks), if there are any: nobody knows their
    /// names, so the fleet must raise its floor.
    pub fn untold_marks(&self) -> Option<u64> {
        let marked = self.segment.counts().marked;
        (marked != self.segment.header().marks_told().load(Ordering::Relaxed)).then_some(marked)
    }

    /// The fleet was told of so many forgets without a slot: the number that [`untold_marks`](Self::untold_marks) has
    /// returned.
    pub fn told_marks(&self, marked: u64) {
        self.segment.header().marks_told().store(marked, Ordering::Relaxed);
    }

    // --- What has changed elsewhere ----------------------------------------------------------

    /// Puts a record that was fetched, until its expiry: not over a dead name, and not over a record of the name. It
    /// is no change of this machine's.
    ///
    /// The caller sees to it that no [`kill`](Self::kill) of the name comes between the fetch and this.
    pub fn put_fetched(
        &self,
        name: Name,
        record: &[u8],
        expiry: u64,
        now: u64,
    ) -> Result<Fetched, Refused> {
        let result = self.segment.bucket(name).put_fetched(name, record, expiry, now);
        if result == Ok(Fetched::Put { evicted: true }) {
            self.segment.count(name, Event::Evicted);
        }
        result
    }

    /// A name was removed on another machine: kills its record here until the record's expiry. It is no change of
    /// this machine's. Returns whether there was a record; if not, see [`Segment::is_killed`].
    pub fn kill(&self, name: Name, now: u64) -> bool {
        self.segment.bucket(name).kill(name, now)
    }

    // --- Questions ---------------------------------------------------------------------------

    /// Takes the questions of this moment, at most one for each cell. Each wants an [`answer`](Self::answer).
    pub fn questions(&self) -> impl Iterator<Item = Asked> {
        let cells = self.segment.header().cells();
        let mut pending = cells.take_pending();
        std::iter::from_fn(move || {
            while pending != 0 {
                let number = pending.trailing_zeros() as usize;
                pending &= pending - 1;
                match cells.name(number) {
                    Some(name) => return Some(Asked { name, cell: Cell(number) }),
                    // Two at once, of whom neither can be told.
                    None => cells.answer(number, &Kernel),
                }
            }
            None
        })
    }

    /// Tells those who wait at a question's place to look into the segment: there is a record by now, or there is
    /// none to be had. (A system call if somebody sleeps there.)
    pub fn answer(&self, cell: Cell) {
        self.segment.header().cells().answer(cell.0, &Kernel);
    }

    /// Sleeps until a process waits for an answer, or until the deadline; not at all if there are questions already.
    /// For one thread at a time.
    ///
    /// A process that asks and does not wait makes no system call and so wakes nobody: choose a deadline of some
    /// milliseconds.
    pub fn sleep_at_doorbell(&self, deadline: Moment) {
        self.segment.header().cells().sleep(&Kernel, deadline);
    }

    // --- What lasts from one agent to the next -----------------------------------------------

    /// The last entry of the removals stream that was read; 0-0 if none ever was.
    pub fn stream(&self) -> Position {
        self.segment.agent().stream
    }

    /// All entries of the removals stream up to this one are read, and what they remove is killed. For one thread.
    pub fn set_stream(&self, position: Position) {
        let [ms, seq] = self.segment.header().stream();
        // In this order: wherever the agent is killed, the next one begins at an earlier entry, and reads some again.
        if ms.load(Ordering::Relaxed) != position.ms {
            seq.store(0, Ordering::Release);
            ms.store(position.ms, Ordering::Release);
        }
        seq.store(position.seq, Ordering::Release);
    }

    /// Nothing that was put until now may be published: it may have been removed elsewhere, and this machine has missed that.
    /// Call it before [`set_stream`](Self::set_stream) goes on behind what was missed.
    pub fn withhold(&self) {
        let header = self.segment.header();
        header.withheld().store(header.sequence().load(Ordering::SeqCst), Ordering::Release);
    }

    /// The number of the last put that was to be withheld; 0 if none was.
    pub fn withheld(&self) -> u64 {
        self.segment.header().withheld().load(Ordering::Acquire)
    }

    /// Counts events.
    pub fn count(&self, tally: Tally, more: u64) {
        self.segment.header().tallies()[tally as usize].fetch_add(more, Ordering::Relaxed);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Nobody asks any more. Changes are marked as before, for the next agent.
        self.set_upstream(false);
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Agent({:?} at {})", self.segment, self.path.display())
    }
}

/// The changes of a segment, one after another.
#[derive(Debug)]
pub struct Changes<'a> {
    segment: &'a Segment,
    passes: Passes,
}

impl Changes<'_> {
    /// Returns the next change: the present state of a name that has changed since it was last returned. A name may
    /// come more often than it has changed.
    ///
    /// `None` at the end of a pass: the caller may rest, some milliseconds at most, and begins the next pass by
    /// another call. A pass ends whatever other processes do. What was returned and could not be sent comes
    /// [`again`](Agent::again) on demand.
    pub fn next_change(&mut self, now: u64) -> Option<Change> {
        let segment = self.segment;
        let (dirty, buckets) = (segment.header().dirty(), segment.buckets());
        self.passes.next_change(dirty, buckets, |index| segment.bucket_at(index), now)
    }
}
