//! What a statistics file looks like. The library writes it and the `sslsweep` command reads it; both are made
//! of this one source.
//!
//! A file is 64-bit words in the byte order of the machine: a header, a block for contexts that have ended, one
//! for those that found no block of their own, and a block for each of [`CONTEXTS`] contexts. Counters only
//! rise; a word is written as a whole. A reader takes nothing on trust: any file may be damaged or foreign.

/// "SSLSWEEP" as it lies in memory.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"SSLSWEEP");

/// Rises with every change of this file.
pub const LAYOUT: u64 = 2;

/// Where the files are. Each is named `sslsweep.PID.START`, START being the process's start time as field 22 of
/// `/proc/PID/stat` has it.
pub const FOLDER: &str = "/dev/shm";

/// The beginning of a file's name.
pub const PREFIX: &str = "sslsweep.";

/// Words of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Header {
    /// [`MAGIC`]
    Magic,
    /// [`LAYOUT`]
    Layout,
    /// The process.
    Pid,
    /// When it began, as in the file's name.
    Start,
    /// Contexts that have begun.
    Begun,
    /// Contexts that have ended.
    Ended,
    /// The first of eight words of the program's name, padded with zero bytes.
    Name,
}

/// Words of the program's name.
pub const NAME_WORDS: usize = 8;

/// Words before the first block.
pub const HEADER_WORDS: usize = 64;

/// Contexts that have blocks of their own.
pub const CONTEXTS: usize = 256;

/// The blocks before those of contexts: of all that have ended, and of all that found none free.
pub const ENDED: usize = 0;
/// See [`ENDED`].
pub const OTHERS: usize = 1;

/// Blocks of a file.
pub const BLOCKS: usize = 2 + CONTEXTS;

/// Steps of a histogram of durations: 0 is less than a microsecond, each further one twice as long.
pub const STEPS: usize = 24;

/// The curve of what will expire: part by part, sessions that expire in less than so many seconds, and in no less
/// than the part before. The first part is due already. Two more parts follow: later, and never.
pub const HORIZONS: [i64; 14] =
    [0, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 604_800];

/// Parts of the curve.
pub const CURVE: usize = HORIZONS.len() + 2;

/// Words of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Word {
    /// The number of the context, from 1 on; 0: the block is free.
    Number,
    /// Sessions stored now.
    Sessions,
    /// The most sessions; 0 for any number.
    Limit,
    /// Sessions stored under a new key, or in place of another one.
    Stores,
    /// Lookups that found a session; those of the block's stripes come in addition.
    Hits,
    /// Lookups that did not; likewise.
    Misses,
    /// Sessions that the program's get callback provided.
    ExternalHits,
    /// Sessions that left for lack of room.
    Evictions,
    /// Sessions that flushes removed.
    Flushed,
    /// Sessions removed one by one.
    Removals,
    /// Flushes that removed something.
    Flushes,
    /// Nanoseconds of the longest batch.
    LongestBatch,
    /// When the last flush ended, in seconds since the epoch.
    LastFlush,
    /// Sessions that the last flush removed.
    LastRemoved,
    /// Nanoseconds that the last flush took.
    LastTook,
    /// When the curve was made, in seconds since the epoch.
    CurveMade,
    /// The first word of the curve.
    Curve,
    /// The first word of the histogram of flushes.
    FlushTimes = 16 + CURVE,
    /// The first word of the histogram of batches.
    BatchTimes = 16 + CURVE + STEPS,
}

const _: () = assert!(Word::Curve as usize == 16);

/// Words of a block that [`Word`] names, whole cache lines.
pub const FIGURES: usize = (Word::BatchTimes as usize + STEPS).next_multiple_of(8);

/// Behind a block's figures, so many cache lines in which lookups are counted: threads that look up at once would
/// otherwise wait for one another's line. (With one counter, two threads that do nothing else took 1.25 to 1.3 times
/// as long; with stripes no longer than without figures. `make bench STATS=1`.)
pub const STRIPES: usize = 8;

/// Words of a stripe: hits, misses, and nothing.
pub const STRIPE_WORDS: usize = 8;

/// Words of a block.
pub const BLOCK_WORDS: usize = FIGURES + STRIPES * STRIPE_WORDS;

/// Words of a file.
pub const WORDS: usize = HEADER_WORDS + BLOCKS * BLOCK_WORDS;

/// The part of the curve for something that expires in so many seconds.
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
