//! S7: memory that anybody may have written to. Every operation returns, and nothing panics.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use proptest::prelude::*;

use super::{Folder, LATER, NOW, name};
use crate::{Agent, Changes, Moment, ROOM, Segment};

/// One bucket, so that all meets: the segment of a process, and the agent.
const BYTES: u64 = 12_288;

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
    let _ = (segment.counts(), segment.sequence(), segment.epoch(), segment.floor());
    segment.raise_epoch(1);
    segment.raise_floor(1);
    if let Some(question) = segment.ask(name(1)) {
        let now = Moment::now();
        segment.wait(question, now, now);
    }
}

fn do_all_of_the_agent(agent: &Agent, changes: &mut Changes<'_>) {
    agent.set_upstream(true);
    agent.beat();
    let told = std::iter::from_fn(|| changes.next_change(NOW)).count();
    // All slots, those of the group that is watched, and those that are marked.
    assert!(told <= 24, "a pass ends: {told}");
    agent.again(name(1), NOW);
    let asked: Vec<_> = agent.questions().collect();
    assert!(asked.len() <= 64);
    for question in asked {
        let _ = agent.put_fetched(question.name, b"fetched", LATER, NOW);
        agent.answer(question.cell);
    }
    agent.kill(name(2), NOW);
    agent.sleep_at_doorbell(Moment::now());
    agent.told_marks(agent.untold_marks().unwrap_or_default());
    agent.set_stream(agent.stream());
}

/// Words that a slot might really have, and any others.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..8, NOW - 1..LATER + 1, u64::MAX - 8..=u64::MAX, any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_contents(words in prop::collection::vec(word(), 1536)) {
        let folder = Folder::new("any");
        let agent = Agent::attach(&folder.path(), BYTES, None).unwrap();
        let segment = Segment::host(&folder.path(), BYTES).unwrap();
        for (to, word) in segment.words().iter().zip(words) {
            to.store(word, Relaxed);
        }
        let mut changes = agent.changes();
        for _ in 0..2 {
            do_all(&segment);
            do_all_of_the_agent(&agent, &mut changes);
        }
    }
}

#[test]
fn contents_that_change_all_the_time() {
    let folder = Folder::new("changing");
    let agent = Agent::attach(&folder.path(), BYTES, None).unwrap();
    let segment = Segment::host(&folder.path(), BYTES).unwrap();
    let mut changes = agent.changes();
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
            do_all_of_the_agent(&agent, &mut changes);
        }
        done.store(true, Relaxed);
    });
}
