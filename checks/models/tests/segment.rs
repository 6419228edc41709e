//! Two or three processes, as threads, at one bucket of a segment (two slots, records of one word), in every order that
//! they can come, and with every value that an atomic may show them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::atomic::AtomicU64;
use loom::thread;

use models::exhaustive::slots::{BUCKET_WORDS, Bucket, Forgotten, Name, Refused};

const NOW: u64 = 1;
const EARLY: u64 = 5;
const LATE: u64 = 9;

struct World {
    words: Vec<AtomicU64>,
    sequence: AtomicU64,
}

impl World {
    fn new() -> Arc<Self> {
        let words = (0..BUCKET_WORDS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { words, sequence: AtomicU64::new(0) })
    }

    fn bucket(&self) -> Bucket<'_> {
        Bucket::new(&self.words, &self.sequence)
    }

    /// The record tells the name and the put.
    fn put(&self, name: u8, put: u8, expiry: u64) -> Result<(), Refused> {
        self.bucket().put(named(name), &[name, put], expiry, NOW).map(drop)
    }

    /// The put whose record a get finds: never one of another name.
    fn get(&self, name: u8) -> Option<u8> {
        self.bucket().get(named(name), NOW).map(|found| of(name, found.bytes()))
    }

    fn take(&self, name: u8) -> Option<u8> {
        self.bucket().take(named(name), NOW).map(|found| of(name, found.bytes()))
    }

    fn forget(&self, name: u8) -> Forgotten {
        self.bucket().forget(named(name), LATE, NOW)
    }
}

fn named(name: u8) -> Name {
    Name::from_bytes([name; 16])
}

/// A step of one process, with an answer.
type Step<R> = fn(&World) -> R;

/// Explores two steps beside each other after `before`, and checks their answers and what they leave.
///
/// Each of them is once the thread that begins. loom remembers only the last access to an atomic, so a thread that
/// reads a word before it changes it hides who has read it earlier; the other way round loom sees both.
fn race<A: 'static, B: 'static>(
    name: &str,
    before: Step<()>,
    (first, second): (Step<A>, Step<B>),
    check: fn(&World, A, B),
) {
    explore(name, move || {
        let world = World::new();
        before(&world);
        let beside = beside(&world, first);
        let second = second(&world);
        let first = beside();
        check(&world, first, second);
    });
    explore(name, move || {
        let world = World::new();
        before(&world);
        let beside = beside(&world, second);
        let first = first(&world);
        let second = beside();
        check(&world, first, second);
    });
}

/// With three preemptions at most (or `LOOM_MAX_PREEMPTIONS`): without a bound the longest models take minutes.
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let schedules = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&schedules);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("segment: {name}: {} schedules", schedules.load(Ordering::Relaxed));
}

/// Another process. The result waits for its answer.
fn beside<R: 'static>(world: &Arc<World>, step: Step<R>) -> impl FnOnce() -> R {
    let world = Arc::clone(world);
    let thread = thread::spawn(move || step(&world));
    move || thread.join().expect("it has not panicked")
}

fn of(name: u8, bytes: &[u8]) -> u8 {
    match *bytes {
        [found, put] if found == name => put,
        _ => panic!("{bytes:?} was found under {name}"),
    }
}

const NOTHING: Step<()> = |_| {};
const ONE: Step<()> = |world| world.put(1, 1, LATE).unwrap();
/// The next put of another name evicts the first record.
const TWO: Step<()> = |world| {
    world.put(1, 1, EARLY).unwrap();
    world.put(2, 2, LATE).unwrap();
};
/// One slot is left.
const HALF: Step<()> = |world| assert_eq!(world.forget(9), Forgotten::Dead { evicted: false });

const GET: Step<Option<u8>> = |world| world.get(1);
const TAKE: Step<Option<u8>> = |world| world.take(1);
const PUT: Step<Result<(), Refused>> = |world| world.put(1, 2, LATE);
const PUT_OTHER: Step<Result<(), Refused>> = |world| world.put(3, 3, LATE);

/// A record is whole (S7).
#[test]
fn get_against_eviction() {
    race("get against eviction", TWO, (GET, PUT_OTHER), |world, found, put| {
        assert!(found.is_none_or(|put| put == 1));
        assert_eq!(put, Ok(()));
        assert_eq!((world.get(1), world.get(2), world.get(3)), (None, Some(2), Some(3)));
    });
}

#[test]
fn get_of_what_a_put_brings() {
    race("get of what a put brings", TWO, (|world| world.get(3), PUT_OTHER), |_, found, _| {
        assert!(found.is_none_or(|put| put == 3));
    });
}

/// A slot that has changed twice is not taken for one that has not.
#[test]
fn get_against_two_evictions() {
    let evict: Step<()> = |world| {
        world.put(3, 3, EARLY).unwrap();
        world.put(1, 2, EARLY).unwrap();
    };
    race("get against two evictions", TWO, (GET, evict), |world, found, ()| {
        assert!(found.is_none_or(|put| put == 1 || put == 2));
        assert_eq!(world.get(1), Some(2));
    });
}

#[test]
fn get_against_replacement() {
    race("get against replacement", ONE, (GET, PUT), |world, found, put| {
        assert!(found.is_none_or(|put| put == 1 || put == 2));
        assert_eq!((put, world.get(1)), (Ok(()), Some(2)));
    });
}

/// Nobody writes into a slot that another process is writing (S7).
#[test]
fn two_puts_for_one_slot() {
    race("two puts for one slot", HALF, (PUT, PUT_OTHER), |world, one, other| {
        assert!(one.is_ok() || other.is_ok());
        let found = (world.get(1), world.get(3));
        assert!(found == (Some(2), None) || found == (None, Some(3)), "{found:?}");
    });
}

#[test]
fn two_puts_of_one_name() {
    let first: Step<_> = |world| world.put(1, 1, LATE);
    race("two puts of one name", NOTHING, (first, PUT), |world, one, other| {
        assert_eq!((one, other), (Ok(()), Ok(())));
        assert!(world.get(1).is_some());
    });
}

/// Of racing takes exactly one gets the record (S4).
#[test]
fn two_takes() {
    race("two takes", ONE, (TAKE, TAKE), |world, one, other| {
        assert_eq!(one.xor(other), Some(1), "{one:?} and {other:?}");
        assert_eq!(world.get(1), None);
        assert_eq!(world.put(1, 2, LATE), Err(Refused::Dead), "it does not come back");
    });
}

/// At most one, even where the name was put twice (S4).
#[test]
fn two_takes_of_a_name_put_twice() {
    let one: Step<_> = |world| world.put(1, 1, LATE).ok().and_then(|()| world.take(1));
    let other: Step<_> = |world| world.put(1, 2, LATE).ok().and_then(|()| world.take(1));
    race("two takes of a name put twice", NOTHING, (one, other), |world, one, other| {
        assert!(one.is_none() || other.is_none(), "{one:?} and {other:?}");
        assert_eq!(world.take(1), None);
    });
}

#[test]
fn take_against_replacement() {
    race("take against replacement", ONE, (TAKE, PUT), |world, taken, put| match taken {
        Some(taken) => {
            assert_eq!(taken == 2, put.is_ok());
            assert_eq!(world.get(1), None);
        }
        None => assert_eq!((put, world.get(1)), (Ok(()), Some(2))),
    });
}

#[test]
fn take_against_eviction() {
    race("take against eviction", TWO, (TAKE, PUT_OTHER), |world, taken, put| {
        assert!(taken.is_none_or(|put| put == 1));
        assert_eq!((put, world.get(3), world.get(1)), (Ok(()), Some(3), None));
    });
}

/// A record that was taken or forgotten does not come back (S3).
#[test]
fn forget_against_gets() {
    let gets: Step<_> = |world| (world.get(1), world.get(1));
    race("forget against gets", ONE, (FORGET, gets), |world, (), (first, second)| {
        assert!(first.is_some() || second.is_none());
        assert_eq!(world.get(1), None);
    });
}

/// Nothing is found from then on, whatever a put does that has begun (S3).
const FORGET: Step<()> = |world| {
    world.forget(1);
    assert_eq!(world.get(1), None);
};

#[test]
fn forget_against_put() {
    race("forget against put", NOTHING, (FORGET, PUT), |world, (), _| {
        assert_eq!(world.get(1), None);
    });
}

#[test]
fn forget_against_replacement() {
    race("forget against replacement", ONE, (FORGET, PUT), |world, (), _| {
        assert_eq!(world.get(1), None);
    });
}

/// Where a forget finds no slot, its mark reaches the put that has begun (S3).
#[test]
fn forget_without_room_against_put() {
    race("forget without room against put", HALF, (FORGET, PUT), |world, (), _| {
        assert_eq!(world.get(1), None);
    });
}

/// A removal on another machine is known here, whether its record is evicted before, meanwhile or afterwards (S3).
#[test]
fn kill_against_eviction() {
    let kill: Step<_> = |world| world.bucket().kill(named(1), NOW);
    race("kill against eviction", TWO, (kill, PUT_OTHER), |world, killed, _| {
        assert_eq!(world.get(1), None);
        let (gone, missed) =
            (world.bucket().is_gone(named(1), NOW), world.bucket().is_killed(named(1), NOW, NOW));
        assert!(if killed { gone } else { missed }, "{killed}: {gone}, {missed}");
    });
}

#[test]
fn put_take_and_get() {
    explore("put, take and get", || {
        let world = World::new();
        ONE(&world);
        let (put, found) = (beside(&world, PUT_OTHER), beside(&world, GET));
        let taken = world.take(1);
        assert!(found().is_none_or(|put| put == 1));
        assert_eq!((put(), taken), (Ok(()), Some(1)));
        assert_eq!((world.get(1), world.get(3)), (None, Some(3)));
    });
}

#[test]
fn put_forget_and_get() {
    explore("put, forget and get", || {
        let world = World::new();
        let (put, found) = (beside(&world, PUT), beside(&world, GET));
        FORGET(&world);
        assert!(found().is_none_or(|put| put == 2));
        let _ = put();
        assert_eq!(world.get(1), None);
    });
}
