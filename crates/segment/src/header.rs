//! The header page: what the memory is, and the words that all processes count in.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::slots::{BUCKET_WORDS, SLOT_WORDS, WAYS};

/// The words of the header: one page, so that buckets are pages as well.
pub(crate) const HEADER_WORDS: usize = 512;

const MAGIC: u64 = u64::from_be_bytes(*b"sslsegm\0");
/// Rises with each change of the layout or of the protocol.
const LAYOUT: u64 = 1;
const SHAPE: u64 = (SLOT_WORDS as u64) << 32 | WAYS as u64;

// The words. Those that change have cache lines of their own.
const MAGIC_AT: usize = 0;
const LAYOUT_AT: usize = 1;
const SHAPE_AT: usize = 2;
const BYTES_AT: usize = 3;
const SEQUENCE_AT: usize = 8;
const STRIPES_AT: usize = 64;

/// The cache lines over which counts are spread, so that processes seldom meet there.
pub(crate) const STRIPES: usize = 16;
/// The counts of one cache line.
pub(crate) const STRIPE_WORDS: usize = 8;

const _: () =
    assert!(HEADER_WORDS == BUCKET_WORDS && STRIPES_AT + STRIPES * STRIPE_WORDS <= HEADER_WORDS);

/// Rounds a size in bytes down to the header and whole buckets; fails if no bucket fits.
pub(crate) fn whole_bytes(bytes: u64) -> Result<usize, Error> {
    let page = HEADER_WORDS as u64 * 8;
    let whole = bytes - bytes % page;
    let whole = usize::try_from(whole).map_err(|_| Error::Size)?;
    if whole < 2 * HEADER_WORDS * 8 || isize::try_from(whole).is_err() {
        return Err(Error::Size);
    }
    Ok(whole)
}

/// The header in the first page of a mapping.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a>(&'a [AtomicU64]);

impl<'a> Header<'a> {
    /// Splits a mapping into its header and its buckets.
    pub(crate) fn split(words: &'a [AtomicU64]) -> (Self, &'a [AtomicU64]) {
        let (header, buckets) = words.split_at(HEADER_WORDS);
        (Self(header), buckets)
    }

    /// Writes the header of a segment of this size in bytes. The rest of its memory is zero.
    pub(crate) fn write(self, bytes: usize) {
        let words =
            [(LAYOUT_AT, LAYOUT), (SHAPE_AT, SHAPE), (BYTES_AT, bytes as u64), (MAGIC_AT, MAGIC)];
        for (at, word) in words {
            self.0[at].store(word, Ordering::Release);
        }
    }

    /// Checks that the memory is a segment of this size. Its geometry is not read again.
    pub(crate) fn check(self, bytes: usize) -> Result<(), Error> {
        let read = |at: usize| self.0[at].load(Ordering::Acquire);
        if read(MAGIC_AT) != MAGIC {
            return Err(Error::NotSegment);
        }
        match read(LAYOUT_AT) {
            LAYOUT if read(SHAPE_AT) == SHAPE && read(BYTES_AT) == bytes as u64 => Ok(()),
            LAYOUT => Err(Error::Geometry),
            other => Err(Error::Layout(other)),
        }
    }

    /// The number of the last put.
    pub(crate) fn sequence(self) -> &'a AtomicU64 {
        &self.0[SEQUENCE_AT]
    }

    /// The counts of one stripe.
    pub(crate) fn stripe(self, stripe: usize) -> &'a [AtomicU64] {
        &self.0[STRIPES_AT + stripe * STRIPE_WORDS..][..STRIPE_WORDS]
    }
}
