//! The layout of a statistics file, in 64-bit words of the machine's byte order: a header, the owner of each block,
//! a table of processes, and a pool of blocks.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use sslsweep_share_table::Event;

/// "SSLSWEEP" in memory.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"SSLSWEEP");

/// The version of the layout, which rises with every change of it.
pub const LAYOUT: u64 = 6;

/// The most processes of a family that count at the same time.
pub const PROCESSES: usize = 128;

/// Blocks of a family, for the contexts of all its processes.
pub const BLOCKS: usize = 512;

/// The most contexts of one process with blocks of their own, so that it leaves some to others.
pub const CONTEXTS: usize = 256;

/// Words of the program's name.
pub const NAME_WORDS: usize = 8;

/// The most children that are remembered before they have counted anything.
pub const FORKED: usize = 32;

/// Words for the events of sharing, in whole cache lines.
pub const SHARING: usize = Event::ALL.len().next_multiple_of(8);

/// Steps of a histogram of durations: the first is less than a microsecond, each further one twice as long.
pub const STEPS: usize = 24;

/// The ends of the curve's parts, in seconds until a session expires. A part begins where the part before ends; the
/// first part is due already. Two more parts follow: later, and never.
pub const HORIZONS: [i64; 14] =
    [0, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604_800];

/// Parts of the curve.
pub const CURVE: usize = HORIZONS.len() + 2;

/// Cache lines after a block's figures that count lookups, because concurrent threads would wait for each other's line.
/// (With one counter, lookups of two threads took 1.25 to 1.3 times as long; with stripes they take as long as without
/// figures: `make bench STATS=1`.)
pub const STRIPES: usize = 8;

/// Set in an owner's word beside its pid: the place or block is complete, and may be read. The bits above count the
/// claims, and remain when it is given up.
pub const READY: u64 = 1 << 32;

/// The pid in an owner's word; 0 without an owner.
pub const fn pid_of(owner: u64) -> u32 {
    owner as u32
}

/// The word of the next owner.
pub const fn claimed(owner: u64, pid: u32) -> u64 {
    freed(owner).wrapping_add(READY << 1) | pid as u64
}

/// The word when it is given up.
pub const fn freed(owner: u64) -> u64 {
    owner & !(READY | u32::MAX as u64)
}

/// Returns whether this pid owns the place or block, and it is ready to be read.
pub const fn is_ready(owner: u64, pid: u32) -> bool {
    owner & READY != 0 && pid_of(owner) == pid
}

/// Set in a block's mode: it is known. The lowest 32 bits are `SSL_SESS_CACHE_*`.
pub const MODE_KNOWN: u64 = 1 << 63;

/// Set in a block's mode: the context gives out tickets that need no cache (`SSL_OP_NO_TICKET` is not set).
pub const MODE_TICKETS: u64 = 1 << 62;

/// Set in a block's mode: the program has a get callback, and so a cache of its own.
pub const MODE_EXTERNAL: u64 = 1 << 61;

/// Set in a request: remove every session, not only the expired ones.
pub const REQUEST_ALL: u64 = 1;

/// A request, made unique by its time in nanoseconds since the epoch. Each context obeys the request at its next use of
/// the cache, and writes the request to [`Block::answered`]. The begin of a connection is such a use only if no session
/// would leave. A context that begins later has answered the request from its beginning.
pub const fn request(nanoseconds: u64, all: bool) -> u64 {
    (nanoseconds | REQUEST_ALL) - !all as u64
}

/// A version as a word that can be compared: each part in 16 bits.
pub const fn version(major: u64, minor: u64, patch: u64) -> u64 {
    major << 32 | minor << 16 | patch
}

/// A whole file.
#[derive(Debug)]
#[repr(C)]
pub struct Family {
    /// The file's identity: version, size and maker.
    pub header: Header,
    /// The owner of each block, all together: a search for a free block touches few pages.
    pub owners: [AtomicU64; BLOCKS],
    /// The processes.
    pub processes: [Process; PROCESSES],
    /// The pool.
    pub blocks: [Block; BLOCKS],
}

/// The beginning of a file. The first four words keep their places in every layout: a file of another layout is removed
/// only if no process can have it mapped, which its namespace helps to tell.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`], written last.
    pub magic: AtomicU64,
    /// [`LAYOUT`]
    pub layout: AtomicU64,
    /// Bytes of the file.
    pub bytes: AtomicU64,
    /// The inode number of the maker's pid namespace: in others its pids mean other processes.
    pub namespace: AtomicU64,
    /// The process that made it.
    pub pid: AtomicU64,
    /// The start of that process, as in the file's name.
    pub start: AtomicU64,
    /// Processes that are not counted: they found no room in the table, or have no pid in this namespace.
    pub uncounted: AtomicU64,
    /// Children that found no room in `forked`, and took the place of an older one.
    pub forks: AtomicU64,
    /// The program's name, padded with zero bytes.
    pub name: [AtomicU64; NAME_WORDS],
    /// The last forked children that have counted nothing yet; for a child that has not begun to run, its parent.
    pub forked: [AtomicU64; FORKED],
    /// The version of the library that made it: [`version`].
    pub version: AtomicU64,
    /// For later.
    pub reserved: [AtomicU64; 15],
}

/// A process of the family.
#[derive(Debug)]
#[repr(C)]
pub struct Process {
    /// Its pid, with [`READY`] when it may be read; pid 0: free.
    pub owner: AtomicU64,
    /// The pid of a process that a reader has found dead: if the owner has this pid, the place is free.
    pub dead: AtomicU64,
    /// A time after the start of the process, in nanoseconds of the clock of process starts.
    pub since: AtomicU64,
    /// Contexts that have begun.
    pub begun: AtomicU64,
    /// Contexts that have ended.
    pub ended: AtomicU64,
    /// Contexts left to libssl because they lie in shared memory.
    pub left_shared: AtomicU64,
    /// An operator's request, the only word that a reader writes and the process obeys ([`request`]); 0: none.
    pub request: AtomicU64,
    /// For later.
    pub reserved: [AtomicU64; 9],
    /// The events of sharing ([`Event`]), by their numbers.
    pub sharing: [AtomicU64; SHARING],
    /// The sums of contexts that have ended.
    pub past: Block,
    /// The sums of contexts that found no block of their own.
    pub others: Block,
}

impl Process {
    /// The count of an event of sharing.
    pub fn shared(&self, event: Event) -> &AtomicU64 {
        &self.sharing[event.number() as usize]
    }
}

/// The way to combine a figure of several contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is added up.
    Sum,
    /// The largest one counts.
    Most,
    /// It describes the present or last state of a context, and ends with it.
    Now,
}

/// The only list of a block's figures: the kind, the name in [`Word`], the field.
macro_rules! figures {
    ($($(#[doc = $about:literal])* $kind:ident $word:ident $field:ident: $type:ty;)*) => {
        /// The figures of one context, or of several together.
        #[derive(Debug, Default)]
        #[repr(C)]
        pub struct Block {
            $($(#[doc = $about])* pub $field: $type,)*
            /// For later.
            pub reserved: [AtomicU64; 6],
            /// Lookups, by thread.
            pub stripes: [Stripe; STRIPES],
        }

        /// The words of a block before its stripes, by their places in [`Block`]: a reader copies them and looks figures
        /// up by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Word {
            $($(#[doc = $about])* $word = offset_of!(Block, $field) / 8,)*
        }

        impl Block {
            /// A copy of the words that [`Word`] names, with the stripes' lookups added to hits and misses.
            pub fn read(&self) -> [u64; FIGURES] {
                let mut copy = [0; FIGURES];
                $(for (at, word) in self.$field.words().iter().enumerate() {
                    copy[Word::$word as usize + at] = word.load(Ordering::Relaxed);
                })*
                for stripe in &self.stripes {
                    for (word, more) in [(Word::Hits, &stripe.hits), (Word::Misses, &stripe.misses)] {
                        let sum = &mut copy[word as usize];
                        *sum = sum.saturating_add(more.load(Ordering::Relaxed));
                    }
                }
                copy
            }

            /// Each word that holds a figure, including those of the stripes, always in the same order.
            pub fn figures(&self) -> impl Iterator<Item = (Kind, &AtomicU64)> {
                let stripes = self.stripes.iter().flat_map(|stripe| [&stripe.hits, &stripe.misses]);
                [$((Kind::$kind, self.$field.words()),)*]
                    .into_iter()
                    .flat_map(|(kind, words)| words.iter().map(move |word| (kind, word)))
                    .chain(stripes.map(|word| (Kind::Sum, word)))
            }
        }
    };
}

/// A figure of one word or of several.
trait Words {
    fn words(&self) -> &[AtomicU64];
}

impl Words for AtomicU64 {
    fn words(&self) -> &[AtomicU64] {
        std::slice::from_ref(self)
    }
}

impl<const N: usize> Words for [AtomicU64; N] {
    fn words(&self) -> &[AtomicU64] {
        self
    }
}

figures! {
    /// The number of the context in its process, from 1 on.
    Now Number number: AtomicU64;
    /// Sessions stored now.
    Now Sessions sessions: AtomicU64;
    /// The most sessions; 0 for any number.
    Now Limit limit: AtomicU64;
    /// Sessions stored under a new key, or in place of another one.
    Sum Stores stores: AtomicU64;
    /// Lookups that found a session, in addition to those of the stripes.
    Sum Hits hits: AtomicU64;
    /// Lookups that found none, in addition to those of the stripes.
    Sum Misses misses: AtomicU64;
    /// Sessions that the program's get callback provided.
    Sum ExternalHits external_hits: AtomicU64;
    /// Sessions evicted to make room.
    Sum Evictions evictions: AtomicU64;
    /// Sessions that flushes removed.
    Sum Flushed flushed: AtomicU64;
    /// Sessions removed one by one.
    Sum Removals removals: AtomicU64;
    /// Flushes that removed something.
    Sum Flushes flushes: AtomicU64;
    /// Nanoseconds of the longest batch.
    Most LongestBatch longest_batch: AtomicU64;
    /// When the last flush ended, in seconds since the epoch.
    Now LastFlush last_flush: AtomicU64;
    /// Sessions that the last flush removed.
    Now LastRemoved last_removed: AtomicU64;
    /// Nanoseconds that the last flush took.
    Now LastTook last_took: AtomicU64;
    /// When the curve was made, in seconds since the epoch.
    Now CurveMade curve_made: AtomicU64;
    /// The numbers of sessions by the time until they expire ([`HORIZONS`]).
    Now Curve curve: [AtomicU64; CURVE];
    /// The histogram of flushes.
    Sum FlushTimes flush_times: [AtomicU64; STEPS];
    /// The histogram of batches.
    Sum BatchTimes batch_times: [AtomicU64; STEPS];
    /// Lookups that neither the cache nor the program's get callback could answer; they are among the misses.
    Sum ExternalMisses external_misses: AtomicU64;
    /// The cache mode that the program has set, with the `MODE_` bits; 0 in a sum.
    Now Mode mode: AtomicU64;
    /// Handshakes that were finished as a server (`SSL_CTX_sess_accept_good`). This and libssl's other counts are read
    /// when a connection begins, a handshake makes a session, a setting changes, a flush runs, or the context ends.
    Sum Accepted accepted: AtomicU64;
    /// Handshakes that were finished as a client (`SSL_CTX_sess_connect_good`).
    Sum Connected connected: AtomicU64;
    /// Handshakes that resumed a session, by the cache or by a ticket (`SSL_CTX_sess_hits`).
    Sum Resumed resumed: AtomicU64;
    /// Sessions that were still stored when their context ended.
    Sum LeftAtEnd left_at_end: AtomicU64;
    /// The last request that this context, or any of several, has carried out.
    Now Answered answered: AtomicU64;
    /// Sessions that this request removed here. Written before `answered`; for several contexts it may rise later.
    Now AnsweredRemoved answered_removed: AtomicU64;
    /// Nanoseconds of all flushes in the histogram.
    Sum FlushTimeSum flush_time_sum: AtomicU64;
    /// Nanoseconds of all batches in the histogram.
    Sum BatchTimeSum batch_time_sum: AtomicU64;
}

/// A cache line of counters.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Stripe {
    /// Lookups that found a session.
    pub hits: AtomicU64,
    /// Lookups that found none.
    pub misses: AtomicU64,
}

/// The number of words of a type that consists of words.
pub const fn words<T>() -> usize {
    size_of::<T>() / size_of::<u64>()
}

/// Words of a block before its stripes, in whole cache lines.
pub const FIGURES: usize = offset_of!(Block, stripes) / 8;

const _: () = assert!(FIGURES % 8 == 0 && size_of::<Family>() % 64 == 0);

/// The part of the curve for something that expires in this number of seconds.
pub fn curve_part(seconds: i64) -> usize {
    if seconds == i64::MAX {
        return CURVE - 1;
    }
    HORIZONS.iter().position(|&horizon| seconds < horizon).unwrap_or(CURVE - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        let first = claimed(0, 7);
        assert!(pid_of(first) == 7 && !is_ready(first, 7));
        assert!(is_ready(first | READY, 7) && !is_ready(first | READY, 8));
        let second = claimed(freed(first | READY), 7);
        assert!(pid_of(freed(first | READY)) == 0);
        assert_ne!(first, second, "the same pid once more");
        assert_eq!(pid_of(claimed(freed(u64::MAX), u32::MAX)), u32::MAX);
    }

    #[test]
    fn each_figure_is_listed_once() {
        let block = Block::default();
        for (count, (_, word)) in block.figures().enumerate() {
            assert_eq!(word.swap(1, Ordering::Relaxed), 0, "word {count} once more");
        }
        let named = FIGURES - block.reserved.len();
        assert_eq!(block.figures().count(), named + 2 * STRIPES, "none is left out");
    }

    #[test]
    fn parts_of_the_curve() {
        for (seconds, part) in
            [(i64::MIN, 0), (-1, 0), (0, 1), (1, 1), (9, 1), (10, 2), (604_799, 13), (604_800, 14)]
        {
            assert_eq!(curve_part(seconds), part, "{seconds}");
        }
        assert_eq!(curve_part(i64::MAX - 1), CURVE - 2);
        assert_eq!(curve_part(i64::MAX), CURVE - 1);
    }
}
