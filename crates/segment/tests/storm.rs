//! S7, S4: processes that share a segment, and are stopped and killed at any instruction.
//!
//! The children are forked from a process with threads, so they allocate nothing and end by `_exit` or by a signal.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sslsweep_segment::{Agent, Change, Changes, Name, Record, Refused, Segment};

/// Few enough that all processes meet all the time.
const NAMES: u64 = 96;
const BYTES: u64 = 10 * 4096;
const CHILDREN: usize = 12;
const KILLS: u64 = 60;
const FAR: u64 = u64::MAX;

fn name(number: u64) -> Name {
    let high = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Name::from_bytes(bytes)
}

/// A generator that needs no memory.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A record of a name: a seed, and what follows from seed and name.
fn write(record: &mut [u8; 400], number: u64, seed: u64) {
    record[..8].copy_from_slice(&seed.to_ne_bytes());
    let mut random = Random((seed ^ number.rotate_left(32)) | 1);
    for word in record[8..].chunks_exact_mut(8) {
        word.copy_from_slice(&random.next().to_ne_bytes());
    }
}

fn is_whole(found: &Record, number: u64) -> bool {
    let Some(seed) = found.bytes().first_chunk().copied().map(u64::from_ne_bytes) else {
        return false;
    };
    let mut expected = [0; 400];
    write(&mut expected, number, seed);
    found.bytes() == expected
}

/// A child, which ends with this at the latest.
struct Child(libc::pid_t);

impl Child {
    /// A child does this, and exits with the status.
    fn fork(work: impl FnOnce() -> i32) -> Self {
        // SAFETY: the child calls no function that needs a lock of another thread, and does not return from here.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: the call has no pointers. The child does not outlive the test, even if that is killed.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                // SAFETY: the child ends without running handlers of the parent's.
                unsafe { libc::_exit(work()) }
            }
            pid => {
                assert!(pid > 0, "no more processes can be made");
                Self(pid)
            }
        }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so the pid is still its own.
        unsafe { libc::kill(self.0, signal) };
    }

    fn wait(self) -> i32 {
        let pid = self.0;
        std::mem::forget(self);
        wait_for(pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        wait_for(self.0);
    }
}

fn wait_for(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the status is a local variable.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    status
}

/// Does random things until it is killed, or finds a record that is not whole.
fn disturb(segment: &Segment, seed: u64) -> i32 {
    let mut random = Random(seed | 1);
    let mut record = [0; 400];
    loop {
        // Time goes on with the puts, so that records expire and dead slots return.
        let now = segment.sequence() / 16;
        let number = random.next() % NAMES;
        let found = match random.next() % 16 {
            0 => segment.take(name(number), now),
            1 => {
                segment.forget(name(number), now + 8, now);
                None
            }
            2..8 => {
                write(&mut record, number, random.next());
                let _ = segment.put(name(number), &record, now + 1 + random.next() % 8, now);
                None
            }
            _ => segment.get(name(number), now),
        };
        if found.is_some_and(|found| !is_whole(&found, number)) {
            return 1;
        }
    }
}

/// Children that disturb each other, and are stopped and killed for some seconds. Returns how many were killed.
fn storm(segment: &Segment, count: usize, kills: u64) -> u64 {
    let mut random = Random(0x5353_4c53_5745_4550 ^ u64::from(std::process::id()));
    let mut begin = || {
        let seed = random.next();
        Child::fork(|| disturb(segment, seed))
    };
    let mut children: Vec<Child> = (0..count).map(|_| begin()).collect();
    let mut chance = Random(0x1234_5678_9abc_def1);
    let end = Instant::now() + Duration::from_secs(3);
    let mut killed = 0u64;
    while killed < kills && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(chance.next() % 20_000));
        let at = chance.next() as usize % children.len();
        match chance.next() % 3 {
            0 => children[at].signal(libc::SIGSTOP),
            1 => children.iter().for_each(|child| child.signal(libc::SIGCONT)),
            _ => {
                children[at].signal(libc::SIGKILL);
                let status = std::mem::replace(&mut children[at], begin()).wait();
                assert!(libc::WIFSIGNALED(status), "a child found a record that is not whole");
                killed += 1;
            }
        }
    }
    for child in children {
        child.signal(libc::SIGKILL);
        assert!(libc::WIFSIGNALED(child.wait()), "a child found a record that is not whole");
        killed += 1;
    }
    killed
}

#[test]
fn s7_a_storm_of_kills_and_stops() {
    let segment = Segment::family(BYTES).unwrap();
    let killed = storm(&segment, CHILDREN, KILLS);
    let now = segment.sequence() / 16;
    let census = segment.census(now);
    println!("{killed} killed; {census:?}; {:?}", segment.counts());
    assert!(census.busy <= killed, "at most one slot for each: {census:?}");
    for number in 0..NAMES {
        let found = segment.get(name(number), now);
        assert!(found.is_none_or(|found| is_whole(&found, number)), "name {number}");
    }
    assert!(segment.counts().puts > 1_000 && segment.counts().hits > 1_000, "something was done");
}

/// What an agent has been told last of each name: its record, or nothing if it is dead.
struct Told<'a> {
    changes: Changes<'a>,
    last: Vec<Option<Record>>,
    count: u64,
}

impl Told<'_> {
    fn pass(&mut self, segment: &Segment) {
        while let Some(change) = self.changes.next_change(segment.sequence() / 16) {
            let bytes = change.name().to_bytes();
            let number = u64::from_be_bytes(*bytes.last_chunk().expect("a name has 16 bytes"));
            assert_eq!(change.name(), name(number));
            self.count += 1;
            self.last[number as usize] = match change {
                Change::Live { record, .. } => {
                    assert!(is_whole(&record, number), "the agent is told of half a record");
                    Some(record)
                }
                Change::Dead { .. } => None,
            };
        }
    }
}

/// Whatever happens to the processes, the agent is told of each change but the last of one that was killed.
#[test]
fn s7_the_agent_misses_nothing_in_a_storm() {
    let path = std::env::temp_dir().join(format!("sslsweep-storm-{}", std::process::id()));
    let agent = Agent::attach(&path, BYTES, None).unwrap();
    let segment = Segment::host(&path, BYTES).unwrap();
    std::fs::remove_file(&path).unwrap();
    let last = (0..NAMES).map(|_| None).collect();
    let mut told = Told { changes: agent.changes(), last, count: 0 };
    let is_over = AtomicBool::new(false);
    let killed = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !is_over.load(Relaxed) {
                told.pass(&segment);
            }
        });
        let killed = storm(&segment, CHILDREN / 2, KILLS / 3);
        is_over.store(true, Relaxed);
        killed
    });
    // Enough that each group is looked at once without a mark.
    (0..4096).for_each(|_| told.pass(&segment));

    let now = segment.sequence() / 16;
    let mut missed = 0;
    for number in 0..NAMES {
        let found = segment.get(name(number), now);
        missed += u64::from(found.is_some() && found != told.last[number as usize]);
    }
    for number in 0..NAMES {
        let is_dead = segment.put(name(number), &[], FAR, now) == Err(Refused::Dead);
        missed += u64::from(is_dead && told.last[number as usize].is_some());
    }
    println!("{killed} killed; {} told, {missed} missed", told.count);
    assert!(missed <= killed && told.count > 100, "{missed} missed, {} told", told.count);
}

#[test]
fn s4_of_all_processes_one_takes_each_record() {
    const RECORDS: u64 = 4_000;
    let segment = Segment::family(Segment::DEFAULT_BYTES).unwrap();
    for number in 0..RECORDS {
        segment.put(name(number), &number.to_ne_bytes(), FAR, 0).unwrap();
    }
    assert_eq!(segment.counts().evictions, 0, "each has a slot");
    let take_all = |own: u64| {
        let wins =
            (0..RECORDS).filter(|&number| segment.take(name(number), 0).is_some()).count() as u64;
        let told = segment.put(name(RECORDS + own), &wins.to_ne_bytes(), FAR, 0);
        i32::from(told.is_err())
    };
    let children: Vec<Child> = (0..4).map(|own| Child::fork(|| take_all(own))).collect();
    for child in children {
        assert_eq!(child.wait(), 0);
    }
    let wins = (0..4).map(|own| segment.get(name(RECORDS + own), 0).expect("it has told its wins"));
    let wins: Vec<u64> =
        wins.map(|wins| u64::from_ne_bytes(wins.bytes().try_into().unwrap())).collect();
    println!("wins: {wins:?}");
    assert_eq!(wins.iter().sum::<u64>(), RECORDS);
}

/// Times a put and a get of 400 bytes: `cargo test --release -p sslsweep-segment -- --ignored --nocapture`
#[test]
#[ignore = "it measures, and asserts nothing"]
fn the_time_of_a_put_and_a_get() {
    const ROUNDS: u64 = 100_000;
    let segment = Segment::family(Segment::DEFAULT_BYTES).unwrap();
    let mut record = [0; 400];
    for round in ["first, with page faults", "second", "third"] {
        let begun = Instant::now();
        for number in 0..ROUNDS {
            record[0] = number as u8;
            segment.put(name(number), &record, FAR, 0).unwrap();
        }
        let put = begun.elapsed() / ROUNDS as u32;
        let begun = Instant::now();
        let found = (0..ROUNDS).filter(|&number| segment.get(name(number), 0).is_some()).count();
        let get = begun.elapsed() / ROUNDS as u32;
        println!("{round}: put {put:?}, get {get:?} ({found} found)");
    }
}
