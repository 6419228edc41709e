//! S7: memory that anybody may have written to. Every operation returns, and nothing panics.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use proptest::prelude::*;

use super::{LATER, NOW, name, one_bucket};
use crate::{ROOM, Segment};

fn do_all(segment: &Segment) {
    for number in 0..4 {
        for record in [segment.get(name(number), NOW), segment.take(name(number), NOW)] {
            assert!(record.is_none_or(|record| record.bytes().len() <= ROOM));
        }
        let _ = segment.put(name(number), &[number as u8; 99], LATER, NOW);
        segment.forget(name(number + 1), LATER, NOW);
    }
    let census = segment.census(NOW);
    assert_eq!(census.empty + census.busy + census.live + census.dead, segment.slots() as u64);
    let _ = (segment.counts(), segment.sequence());
}

/// Words that a slot might really have, and any others.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..8, NOW - 1..LATER + 1, u64::MAX - 8..=u64::MAX, any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_contents(words in prop::collection::vec(word(), 1536)) {
        let segment = one_bucket();
        for (to, word) in segment.words().iter().zip(words) {
            to.store(word, Relaxed);
        }
        do_all(&segment);
    }
}

#[test]
fn contents_that_change_all_the_time() {
    let segment = one_bucket();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            let mut random = 88_172_645_463_325_252u64;
            while !done.load(Relaxed) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let word = if random & 1 == 0 { random >> 60 } else { random };
                segment.words()[random as usize % 1536].store(word, Relaxed);
            }
        });
        for _ in 0..5_000 {
            do_all(&segment);
        }
        done.store(true, Relaxed);
    });
}
