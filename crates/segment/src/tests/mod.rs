//! The rules, each by itself. The models (`checks/models/tests/segment.rs`) have the rules of two processes at once.

mod hostile;
mod oracle;
mod place;
mod rules;

use crate::{Name, Segment};

const NOW: u64 = 1_000;
const LATER: u64 = 1_100;

/// A segment with one bucket, so with eight slots.
fn one_bucket() -> Segment {
    Segment::family(12_288).expect("there is memory")
}

/// A name of this number.
fn name(number: u64) -> Name {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Name::from_bytes(bytes)
}

/// The record's bytes, if one is found.
fn found(segment: &Segment, name: Name, now: u64) -> Option<Vec<u8>> {
    segment.get(name, now).map(|record| record.bytes().to_vec())
}
