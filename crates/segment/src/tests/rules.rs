//! One process, one bucket: the rules of putting and losing a record.

use std::sync::atomic::Ordering::Relaxed;

use super::{LATER, NOW, found, name, one_bucket};
use crate::{Counts, ROOM, Refused, Segment};

fn fill(segment: &Segment) {
    for number in 0..8 {
        segment.put(name(number), &[number as u8], LATER + number, NOW).unwrap();
    }
}

fn present(segment: &Segment, now: u64) -> Vec<u64> {
    (0..20).filter(|&number| segment.get(name(number), now).is_some()).collect()
}

const BUSY: u64 = 1;

/// Writes a slot's state past the protocol, and returns the former one.
fn set_state(segment: &Segment, slot: usize, state: u64) -> u64 {
    let word = &segment.words()[1024 + slot * 64];
    let former = word.load(Relaxed);
    word.store(former & !0b11 | state, Relaxed);
    former & 0b11
}

#[test]
fn a_record_of_any_length_is_found_until_it_expires() {
    let segment = one_bucket();
    for length in [0, 1, 7, 8, 9, 400, ROOM] {
        let record: Vec<u8> = (0..length).map(|at| at as u8 ^ 0x5a).collect();
        segment.put(name(1), &record, LATER, NOW).unwrap();
        assert_eq!(found(&segment, name(1), LATER - 1), Some(record));
    }
    assert_eq!(found(&segment, name(1), LATER), None);
    assert_eq!(found(&segment, name(2), NOW), None);
    assert_eq!(segment.census(NOW).live, 1, "each has replaced the former one");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let segment = one_bucket();
    let large = [0; ROOM + 1];
    assert_eq!(segment.put(name(1), &large, LATER, NOW), Err(Refused::TooLarge));
    assert_eq!(segment.put(name(1), &[], NOW, NOW), Err(Refused::Expired));
    assert_eq!(segment.census(NOW).empty, 8);
}

#[test]
fn a_full_bucket_evicts_what_expires_first() {
    let segment = one_bucket();
    fill(&segment);
    segment.put(name(8), &[], LATER + 1, NOW).unwrap();
    assert_eq!(present(&segment, NOW), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(segment.counts().evictions, 1);
    // An expired record leaves first, and does not count as evicted.
    segment.put(name(9), &[], LATER + 99, LATER + 1).unwrap();
    segment.put(name(10), &[], LATER + 99, LATER + 1).unwrap();
    assert_eq!(present(&segment, LATER + 1), [2, 3, 4, 5, 6, 7, 9, 10]);
    assert_eq!(segment.counts().evictions, 1);
}

/// S4: a record is taken once.
#[test]
fn s4_a_take_is_the_last() {
    let segment = one_bucket();
    segment.put(name(1), b"once", LATER, NOW).unwrap();
    assert_eq!(segment.take(name(1), NOW).unwrap().bytes(), b"once");
    assert_eq!(segment.take(name(1), NOW), None);
    assert_eq!(segment.get(name(1), NOW), None);
    assert_eq!(segment.put(name(1), b"again", LATER + 50, NOW), Err(Refused::Dead));
    assert_eq!(segment.take(name(1), LATER), None, "a record that has expired");
}

/// S3: a forgotten name stays dead until its time, whatever else comes.
#[test]
fn s3_a_forgotten_name_does_not_come_back() {
    let segment = one_bucket();
    segment.put(name(1), &[1], LATER, NOW).unwrap();
    assert!(!segment.is_gone(name(1), NOW), "live");
    segment.forget(name(1), LATER, NOW);
    assert_eq!(segment.census(NOW).dead, 1);
    assert!(segment.is_gone(name(1), LATER - 1) && !segment.is_gone(name(1), LATER));
    assert!(!segment.is_gone(name(2), NOW), "absent");
    segment.forget(name(1), LATER, NOW);
    assert_eq!(segment.census(NOW).dead, 1, "once is enough");
    for number in 2..100 {
        segment.put(name(number), &[], LATER - 1, NOW).unwrap();
    }
    assert_eq!(segment.put(name(1), &[2], LATER, LATER - 1), Err(Refused::Dead));
    assert_eq!(found(&segment, name(1), LATER - 1), None);
    segment.put(name(1), &[3], LATER + 1, LATER).unwrap();
    assert_eq!(found(&segment, name(1), LATER), Some(vec![3]));
}

/// S3: a record that is on its way when its name is forgotten.
#[test]
fn s3_a_name_without_a_record_is_forgotten_too() {
    let segment = one_bucket();
    segment.forget(name(1), LATER, NOW);
    assert_eq!(segment.put(name(1), &[1], LATER, NOW), Err(Refused::Dead));
    // A longer time than that of the record makes the name dead for longer.
    segment.put(name(2), &[2], LATER, NOW).unwrap();
    segment.forget(name(2), LATER + 5, NOW);
    assert_eq!(segment.put(name(2), &[2], LATER + 5, LATER + 4), Err(Refused::Dead));
    // A time that has passed leaves nothing behind.
    segment.forget(name(3), NOW, NOW);
    segment.put(name(3), &[3], LATER, NOW).unwrap();
}

#[test]
fn a_forget_evicts_a_record_but_no_dead_slot() {
    let segment = one_bucket();
    fill(&segment);
    segment.forget(name(10), LATER, NOW);
    assert_eq!(present(&segment, NOW), [1, 2, 3, 4, 5, 6, 7]);
    for number in 11..18 {
        segment.forget(name(number), LATER, NOW);
    }
    assert_eq!((segment.census(NOW).dead, segment.counts().evictions), (8, 8));
    assert_eq!(segment.put(name(1), &[], LATER, NOW), Err(Refused::Full));
    assert_eq!(segment.put(name(10), &[], LATER, NOW), Err(Refused::Dead));
}

/// S3: without a slot the whole bucket is hidden, and with it a put that has begun.
#[test]
fn s3_a_forget_without_a_slot_hides_what_was_published() {
    let segment = one_bucket();
    segment.put(name(0), &[0], LATER, NOW).unwrap();
    let live = set_state(&segment, 0, BUSY);
    for number in 1..8 {
        segment.forget(name(number), LATER, NOW);
    }
    assert_eq!(segment.counts().marked, 0);
    segment.forget(name(0), LATER, NOW);
    assert_eq!(segment.counts().marked, 1);
    set_state(&segment, 0, live);
    assert_eq!(found(&segment, name(0), NOW), None);
    assert_eq!(segment.take(name(0), NOW), None);
    // A record that is put after the mark is found.
    segment.put(name(9), &[9], LATER, NOW).unwrap();
    assert_eq!(found(&segment, name(9), NOW), Some(vec![9]));
    assert_eq!(segment.counts().evictions, 0, "the hidden record is nobody's loss");
}

/// S7: a slot whose writer was killed is lost, and no more.
#[test]
fn s7_a_busy_slot_is_never_reclaimed() {
    let segment = one_bucket();
    fill(&segment);
    set_state(&segment, 3, BUSY);
    for number in 8..50 {
        segment.put(name(number), &[], LATER + 100 + number, NOW).unwrap();
        segment.forget(name(number), LATER, NOW);
        let _ = segment.put(name(number + 100), &[], u64::MAX, LATER + 1_000);
        assert_eq!(segment.census(NOW).busy, 1);
    }
}

#[test]
fn all_is_counted() {
    let segment = one_bucket();
    fill(&segment);
    segment.put(name(8), &[], LATER, NOW).unwrap();
    let _ = segment.put(name(8), &[], NOW, NOW);
    let _ = (segment.get(name(8), NOW), segment.get(name(99), NOW), segment.take(name(99), NOW));
    let _ = segment.take(name(8), NOW);
    segment.forget(name(7), LATER + 7, NOW);
    let expected = Counts {
        puts: 9,
        hits: 1,
        misses: 2,
        takes: 1,
        forgets: 1,
        evictions: 1,
        refused: 1,
        marked: 0,
    };
    assert_eq!(segment.counts(), expected);
    let census = segment.census(NOW);
    assert_eq!((census.empty, census.busy, census.live, census.dead), (0, 0, 6, 2));
    assert_eq!(segment.slots(), 8);
    assert_eq!(segment.sequence(), 9);
}

#[test]
fn names_spread_over_all_buckets() {
    let segment = Segment::family(1 << 20).unwrap();
    for number in 0u64..2_000 {
        let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let name = crate::Name::from_bytes(spread.to_be_bytes());
        segment.put(name, &number.to_ne_bytes(), LATER, NOW).unwrap();
    }
    let census = segment.census(NOW);
    assert_eq!(segment.slots(), 254 * 8);
    assert!(census.live > 1_500, "{census:?}");
}

#[test]
fn s3_what_is_gone_is_known_to_whoever_has_it() {
    let segment = one_bucket();
    assert!(!segment.is_gone(name(1), NOW), "never put");
    segment.put(name(1), b"one", LATER, NOW).unwrap();
    segment.put(name(2), b"two", LATER, NOW).unwrap();
    segment.forget(name(1), LATER, NOW);
    assert!(segment.take(name(2), NOW).is_some());
    assert!(segment.is_gone(name(1), NOW) && segment.is_gone(name(2), NOW));
    assert!(!segment.is_gone(name(1), LATER), "it has expired");
    for number in 3..=8 {
        segment.forget(name(number), LATER, NOW);
    }
    segment.forget(name(9), LATER, NOW);
    assert!(segment.is_gone(name(9), NOW), "the bucket had no slot for it");
    assert!(segment.is_gone(name(10), NOW), "nor can this one be told from it");
    segment.put(name(10), b"ten", LATER + 9, LATER).unwrap();
    assert!(!segment.is_gone(name(10), LATER), "it is there");
}
