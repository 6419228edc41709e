//! A segment and its agent: what the agent is told, what it puts, and how it is asked. The models
//! (`checks/models/tests/fleet.rs`) have what happens at once.

use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use super::{BYTES, Folder, LATER, NOW, found, name};
use crate::{
    Agent, Answer, Change, Changes, Error, Fetched, Moment, Name, Position, Refused, Segment, Tally,
};

/// An agent, and the segment as a server process has it.
fn attached(test: &str) -> (Folder, Agent, Segment) {
    let folder = Folder::new(test);
    let agent = Agent::attach(&folder.path(), BYTES, None).unwrap();
    let segment = folder.open().unwrap();
    (folder, agent, segment)
}

fn pass(changes: &mut Changes<'_>, now: u64) -> Vec<Change> {
    std::iter::from_fn(|| changes.next_change(now)).collect()
}

/// What an agent is told of a record with its own name's number.
fn live(number: u64, expiry: u64) -> impl Fn(&Change) -> bool {
    move |change| match change {
        Change::Live { name: of, record, expiry: until, .. } => {
            (*of, record.bytes(), *until) == (name(number), &number.to_ne_bytes()[..], expiry)
        }
        Change::Dead { .. } => false,
    }
}

fn dead(number: u64, until: u64, has_record: bool) -> impl Fn(&Change) -> bool {
    move |change| match change {
        Change::Dead { name: of, until: found, record } => {
            (*of, *found, record.is_some()) == (name(number), until, has_record)
        }
        Change::Live { .. } => false,
    }
}

fn put(segment: &Segment, number: u64) {
    segment.put(name(number), &number.to_ne_bytes(), LATER, NOW).unwrap();
}

/// The name of a bucket of its own, as names of a hash are spread.
fn spread(number: u64) -> Name {
    let bits = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Name::from_bytes(bits.to_be_bytes())
}

const SECOND: Duration = Duration::from_secs(1);

// --- Changes -----------------------------------------------------------------------------------

#[test]
fn each_change_is_told_once() {
    let (_folder, agent, segment) = attached("changes");
    let mut changes = agent.changes();
    assert_eq!(pass(&mut changes, NOW), []);
    put(&segment, 1);
    put(&segment, 2);
    segment.take(name(2), NOW).unwrap();
    segment.forget(name(3), LATER + 3, NOW);
    let told = pass(&mut changes, NOW);
    assert!(told.len() == 3 && told.iter().any(live(1, LATER)), "{told:?}");
    assert!(told.iter().any(dead(2, LATER, true)), "the agent sees what was taken: {told:?}");
    assert!(told.iter().any(dead(3, LATER + 3, false)), "{told:?}");
    assert_eq!(pass(&mut changes, NOW), []);
    // A longer removal has two slots, and is one change.
    segment.forget(name(1), LATER + 9, NOW);
    let told = pass(&mut changes, NOW);
    assert!(told.len() == 1 && told.iter().any(dead(1, LATER + 9, true)), "{told:?}");
    // What has expired meanwhile is nobody's concern.
    put(&segment, 4);
    assert_eq!(pass(&mut changes, LATER), []);
}

#[test]
fn a_forget_of_this_machine_alone_is_not_told() {
    let (_folder, agent, segment) = attached("here");
    let mut changes = agent.changes();
    put(&segment, 1);
    pass(&mut changes, NOW);
    assert!(segment.has_agent());
    segment.forget_here(name(1), LATER, NOW);
    segment.forget_here(name(2), LATER, NOW);
    assert!([1, 2].iter().all(|&number| segment.is_gone(name(number), NOW)));
    assert!(segment.is_dead(name(2), NOW) && !segment.is_dead(name(3), NOW));
    assert_eq!((pass(&mut changes, NOW), segment.counts().forgets), (vec![], 2));
}

#[test]
fn every_bucket_is_found() {
    let folder = Folder::new("buckets");
    // More buckets than groups.
    let agent = Agent::attach(&folder.path(), 20 << 20, None).unwrap();
    let segment = Segment::host(&folder.path(), 20 << 20).unwrap();
    assert!(segment.slots() > 8 * 4096);
    let mut changes = agent.changes();
    assert_eq!(pass(&mut changes, NOW), []);
    for number in 0..5_000 {
        segment.put(spread(number), b"r", LATER, NOW).unwrap();
    }
    let mut told: Vec<_> = pass(&mut changes, NOW).iter().map(|it| it.name().to_bytes()).collect();
    told.sort();
    told.dedup();
    let mut there: Vec<_> = (0..5_000).map(|number| spread(number).to_bytes()).collect();
    there.sort();
    assert_eq!(segment.counts().evictions, 0);
    assert!(told == there, "{} of 5,000", told.len());
}

#[test]
fn an_agent_that_begins_is_told_everything() {
    let folder = Folder::new("begins");
    let segment = folder.open().unwrap();
    put(&segment, 1);
    segment.forget(name(2), LATER, NOW);
    for _ in 0..2 {
        let agent = Agent::attach(&folder.path(), BYTES, None).unwrap();
        let mut changes = agent.changes();
        let told = pass(&mut changes, NOW);
        assert!(told.iter().any(live(1, LATER)) && told.iter().any(dead(2, LATER, false)));
        assert_eq!((told.len(), pass(&mut changes, NOW)), (2, vec![]));
    }
    // While there is none, changes are marked for the next.
    put(&segment, 3);
    let agent = Agent::attach(&folder.path(), BYTES, None).unwrap();
    assert!(pass(&mut agent.changes(), NOW).iter().any(live(3, LATER)));
}

#[test]
fn what_could_not_be_sent_is_told_again() {
    let (_folder, agent, segment) = attached("again");
    let mut changes = agent.changes();
    put(&segment, 1);
    pass(&mut changes, NOW);
    agent.again(name(1), NOW);
    agent.again(name(2), NOW);
    let told = pass(&mut changes, NOW);
    assert!(told.len() == 1 && told.iter().any(live(1, LATER)), "{told:?}");
    // By the state of then.
    agent.again(name(1), NOW);
    segment.forget(name(1), LATER, NOW);
    let told = pass(&mut changes, NOW);
    assert!(told.len() == 1 && told.iter().any(dead(1, LATER, true)), "{told:?}");
}

/// S7: a process that was killed when it had marked the slot and not the group.
#[test]
fn s7_a_mark_without_its_group_is_found_in_time() {
    let (_folder, agent, segment) = attached("killed");
    let mut changes = agent.changes();
    put(&segment, 1);
    pass(&mut changes, NOW);
    agent.again(name(1), NOW);
    let header = segment.header();
    let unmark = |at: usize| header.word(at).store(0, Relaxed);
    (192..256).chain([56]).for_each(unmark);
    let told = (0..4096).map(|_| pass(&mut changes, NOW)).find(|told| !told.is_empty());
    assert!(told.is_some_and(|told| told.iter().any(live(1, LATER))));
}

#[test]
fn a_forget_without_a_slot_is_reported_by_number() {
    let (_folder, agent, segment) = attached("marks");
    assert_eq!(agent.untold_marks(), None);
    // All in one bucket, which has eight slots.
    (0..10).for_each(|number| segment.forget(name(number), LATER, NOW));
    assert_eq!(agent.untold_marks(), Some(2));
    agent.told_marks(2);
    assert_eq!(agent.untold_marks(), None);
    segment.forget(name(11), LATER, NOW);
    assert_eq!(agent.untold_marks(), Some(3));
}

#[test]
fn a_forget_before_the_first_agent_is_no_concern_of_the_fleet() {
    let folder = Folder::new("marks-before");
    let segment = folder.open().unwrap();
    (0..9).for_each(|number| segment.forget(name(number), LATER, NOW));
    let agent = Agent::attach(&folder.path(), BYTES, None).unwrap();
    assert_eq!(agent.untold_marks(), None);
    // One between two agents is.
    drop(agent);
    segment.forget(name(9), LATER, NOW);
    let agent = Agent::attach(&folder.path(), BYTES, None).unwrap();
    assert_eq!(agent.untold_marks(), Some(2));
}

#[test]
fn without_an_agent_nothing_is_marked() {
    let folder = Folder::new("unmarked");
    let segment = folder.open().unwrap();
    put(&segment, 1);
    segment.forget(name(2), LATER, NOW);
    assert!((192..256).chain([56, 18]).all(|at| segment.header().word(at).load(Relaxed) == 0));
    assert_eq!(segment.agent().beat, 0);
}

// --- Records of the fleet ----------------------------------------------------------------------

#[test]
fn a_fetched_record_takes_no_place_and_is_not_told() {
    let (_folder, agent, segment) = attached("fetched");
    let mut changes = agent.changes();
    let fetch = |number, record: &[u8]| agent.put_fetched(name(number), record, LATER, NOW);
    assert_eq!(fetch(1, b"fetched"), Ok(Fetched::Put { evicted: false }));
    assert_eq!(found(&segment, name(1), NOW).as_deref(), Some(&b"fetched"[..]));
    pass(&mut changes, NOW);
    assert_eq!(fetch(2, b"fetched"), Ok(Fetched::Put { evicted: false }));
    assert_eq!(pass(&mut changes, NOW), []);
    put(&segment, 3);
    assert_eq!(fetch(3, b"fetched"), Ok(Fetched::Present));
    assert_eq!(found(&segment, name(3), NOW), Some(3u64.to_ne_bytes().to_vec()));
    segment.forget(name(4), LATER, NOW);
    assert_eq!(fetch(4, b"fetched"), Err(Refused::Dead));
    assert_eq!(fetch(5, &[0; crate::ROOM + 1]), Err(Refused::TooLarge));
    assert_eq!(agent.put_fetched(name(5), b"", NOW, NOW), Err(Refused::Expired));
    assert_eq!(segment.counts().puts, 1);
}

/// S3: a removal elsewhere ends the record here, and only that.
#[test]
fn s3_a_kill_ends_a_record_and_makes_no_dead_slots() {
    let (_folder, agent, segment) = attached("kill");
    let mut changes = agent.changes();
    put(&segment, 1);
    pass(&mut changes, NOW);
    assert!(agent.kill(name(1), NOW));
    assert!(segment.is_gone(name(1), NOW) && found(&segment, name(1), NOW).is_none());
    assert_eq!(agent.put_fetched(name(1), b"late", LATER, NOW), Err(Refused::Dead));
    assert!(!agent.kill(name(1), NOW) && !agent.kill(name(2), NOW));
    assert_eq!(segment.census(NOW).dead, 1, "a name without a record costs no slot");
    assert_eq!(pass(&mut changes, NOW), []);
}

/// S3: whoever has stored the session itself learns of a removal elsewhere, though the record was evicted.
#[test]
fn s3_a_kill_after_an_eviction_is_known_to_whoever_has_the_session() {
    let (_folder, agent, segment) = attached("kill-evicted");
    put(&segment, 1);
    (2..10).for_each(|number| put(&segment, number));
    let is_killed = |number, made| segment.is_killed(name(number), made, NOW + 5);
    assert!(found(&segment, name(1), NOW).is_none(), "it was evicted");
    assert!(!is_killed(1, NOW), "nobody has removed it");
    assert!(!agent.kill(name(1), NOW + 5));
    assert!(is_killed(1, NOW) && is_killed(1, NOW + 5));
    assert!(!is_killed(1, NOW + 6), "made later");
    assert!(!is_killed(2, NOW), "it has a record");
    assert!(!segment.is_gone(name(1), NOW + 5), "it may be put again");
    assert_eq!(segment.census(NOW).dead, 0, "that has cost no slot");
    // An earlier one, by a clock that was set back, hides nothing less.
    agent.kill(name(1), NOW);
    assert!(is_killed(1, NOW + 5));
    assert!(!segment.is_killed(spread(7), NOW, NOW), "another bucket");
}

// --- Questions ---------------------------------------------------------------------------------

#[test]
fn a_question_reaches_the_agent_and_its_answer_the_process() {
    let (_folder, agent, segment) = attached("question");
    assert_eq!(segment.ask(name(1)), None, "the engine cannot be reached yet");
    agent.set_upstream(true);
    let question = segment.ask(name(1)).unwrap();
    segment.ask(name(2)).unwrap();
    let asked: Vec<_> = agent.questions().collect();
    assert_eq!(asked.iter().map(|it| it.name).collect::<Vec<_>>(), [name(1), name(2)]);
    assert_eq!(agent.questions().count(), 0);
    agent.put_fetched(name(1), b"record", LATER, NOW).unwrap();
    agent.answer(asked[0].cell);
    let now = Moment::now();
    assert_eq!(segment.wait(question, now, now), Answer::Met, "it is there already");
    assert_eq!(found(&segment, name(1), NOW).as_deref(), Some(&b"record"[..]));
    drop(agent);
    assert_eq!(segment.ask(name(1)), None, "nobody would answer");
}

/// Two at once in one cell, of which each has written a half.
#[test]
fn a_torn_question_is_answered_and_not_asked() {
    let (_folder, agent, segment) = attached("torn");
    agent.set_upstream(true);
    let question = segment.ask(name(65)).unwrap();
    // name(65) and name(1) choose the cell of this number.
    segment.header().word(512 + 8 + 1).store(1, Relaxed);
    assert_eq!(agent.questions().count(), 0);
    let now = Moment::now();
    assert_eq!(segment.wait(question, now, now), Answer::Met);
}

/// Through the kernel: the agent sleeps at the doorbell, a process at its cell.
#[test]
fn who_waits_wakes_the_agent_and_is_woken() {
    let (_folder, agent, segment) = attached("wait");
    agent.set_upstream(true);
    let far = || Moment::now().after(60 * SECOND);
    const ROUNDS: u64 = 20;
    let begun = Instant::now();
    thread::scope(|threads| {
        threads.spawn(|| {
            let mut served = 0;
            while served < ROUNDS {
                agent.sleep_at_doorbell(far());
                for asked in agent.questions() {
                    // Late enough that the process may sleep.
                    thread::sleep(Duration::from_micros(200));
                    agent.put_fetched(asked.name, b"record", LATER, NOW).unwrap();
                    agent.answer(asked.cell);
                    served += 1;
                }
            }
        });
        for number in 0..ROUNDS {
            let question = segment.ask(spread(number)).unwrap();
            assert_eq!(segment.wait(question, Moment::now(), far()), Answer::Met);
            assert!(segment.get(spread(number), NOW).is_some());
        }
    });
    assert!(begun.elapsed() < 30 * SECOND, "a wake-up was lost: somebody slept until the deadline");
}

#[test]
fn after_three_missed_deadlines_nobody_waits_but_one_each_second() {
    let (_folder, agent, segment) = attached("breaker");
    agent.set_upstream(true);
    let at = |seconds: u32| Moment::from_start(seconds * SECOND);
    let wait = |seconds| {
        let question = segment.ask(name(1)).unwrap();
        segment.wait(question, at(seconds), at(seconds))
    };
    for _ in 0..3 {
        assert!(!segment.agent().breaker_open);
        assert_eq!(wait(1), Answer::Missed);
    }
    assert!(segment.agent().breaker_open);
    assert_eq!(wait(1), Answer::Open);
    assert_eq!((wait(2), wait(2)), (Answer::Missed, Answer::Open), "one tries");
    assert_eq!(wait(0), Answer::Missed, "a time to come is no reason to wait for it");
    // One that is met closes it.
    let question = segment.ask(name(1)).unwrap();
    agent.questions().for_each(|asked| agent.answer(asked.cell));
    assert_eq!(segment.wait(question, at(9), at(9)), Answer::Met);
    assert!(!segment.agent().breaker_open);
    assert_eq!(wait(9), Answer::Missed);
}

// --- The header --------------------------------------------------------------------------------

#[test]
fn epoch_and_floor_only_rise() {
    let (folder, agent, segment) = attached("rise");
    assert_eq!((segment.epoch(), segment.floor()), (0, 0));
    agent.segment().raise_epoch(2);
    segment.raise_epoch(1);
    agent.segment().raise_floor(NOW);
    segment.raise_floor(NOW - 1);
    assert_eq!((folder.open().unwrap().epoch(), segment.floor()), (2, NOW));
}

#[test]
fn each_segment_has_a_number_of_its_own() {
    let folder = Folder::new("home");
    let numbers = [
        folder.open().unwrap().home(),
        Segment::family(BYTES).unwrap().home(),
        Segment::family(BYTES).unwrap().home(),
    ];
    assert_eq!(folder.open().unwrap().home(), numbers[0], "it stays");
    assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2] && !numbers.contains(&0));
}

#[test]
fn of_two_agents_the_second_takes_over() {
    let folder = Folder::new("two");
    let attach = || Agent::attach(&folder.path(), BYTES, None);
    let first = attach().unwrap();
    first.set_upstream(true);
    first.set_stream(Position { ms: 7, seq: 3 });
    first.count(Tally::Published, 5);
    let state = folder.open().unwrap().agent();
    assert!(state.beat != 0 && state.upstream);
    assert!(matches!(attach(), Err(Error::Attached)));
    drop(first);
    let second = attach().unwrap();
    assert_eq!(second.stream(), Position { ms: 7, seq: 3 });
    second.count(Tally::Published, 1);
    second.beat();
    let now = folder.open().unwrap().agent();
    assert!(now.beat != state.beat && !now.upstream);
    assert_eq!((now.count(Tally::Published), now.count(Tally::Fetched)), (6, 0));
}

/// An agent that was killed in between goes on with an entry that was read.
#[test]
fn half_a_position_is_an_earlier_one() {
    let (_folder, agent, segment) = attached("position");
    for (from, to) in [((5, 9), (6, 2)), ((5, 2), (6, 9)), ((5, 2), (5, 9))] {
        let [from, to] = [from, to].map(|(ms, seq)| Position { ms, seq });
        agent.set_stream(from);
        let [ms, seq] = segment.header().stream();
        let half = Position { ms: ms.load(Relaxed), seq: to.seq };
        seq.store(half.seq, Relaxed);
        assert!(agent.stream() == half && half <= to);
    }
}

#[test]
fn an_agent_notices_that_its_file_was_replaced() {
    let (folder, agent, _segment) = attached("replaced");
    assert!(agent.is_in_place());
    fs::remove_file(folder.path()).unwrap();
    assert!(!agent.is_in_place());
    folder.open().unwrap();
    assert!(!agent.is_in_place());
    Agent::attach(&folder.path(), BYTES, None).unwrap();
}
