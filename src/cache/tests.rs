//! The cache against a naive oracle, under random operations, and its promises one by one.

use proptest::prelude::*;

use super::oracle::{KEYS, OBJECTS, Operation, Session, agrees};
use super::{BATCH, Cache, Cutoff, Eviction, Expiry, Handle, KeyMaker, Stored};

/// So many, or few enough that Miri, which interprets each step, comes to an end.
const fn many(number: u32) -> u32 {
    if cfg!(miri) { number / 100 } else { number }
}

fn expiries() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..12i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => any::<i64>()]
}

fn operations() -> impl Strategy<Value = Operation> {
    let limits = || prop_oneof![3 => Just(0usize), 5 => 1..40usize];
    let keys = || 0..KEYS;
    let objects = || 0..OBJECTS;
    let cutoffs = prop_oneof![1 => Just(Cutoff::All), 6 => expiries().prop_map(Cutoff::Before)];
    prop_oneof![
        12 => (keys(), objects(), expiries(), limits())
            .prop_map(|(key, object, expiry, limit)| Operation::Store { key, object, expiry, limit }),
        1 => limits().prop_map(|limit| Operation::Evict { limit }),
        2 => cutoffs.prop_map(Operation::Flush),
        3 => keys().prop_map(Operation::Take),
        1 => (keys(), objects()).prop_map(|(key, object)| Operation::TakeExactly { key, object }),
        3 => keys().prop_map(Operation::Get),
        4 => (keys(), objects(), expiries())
            .prop_map(|(key, object, expiry)| Operation::ReExpire { key, object, expiry }),
        2 => (keys(), keys(), objects())
            .prop_map(|(old, new, object)| Operation::ReKey { old, new, object }),
        3 => (0..8u8).prop_map(Operation::Starve),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: many(512), failure_persistence: None, ..Default::default() })]

    /// F1, F2, F6, C1, C2, C3, C6: whatever is done, the cache does what a list would do.
    #[test]
    fn does_what_the_oracle_does(script in prop::collection::vec(operations(), 1..250)) {
        prop_assert_eq!(agrees(Eviction::EarliestExpiry, &script), Ok(()));
        prop_assert_eq!(agrees(Eviction::LeastRecentlyUsed, &script), Ok(()));
    }
}

pub(super) fn filled(count: u32, expiry: impl Fn(u32) -> i64) -> (Cache<Session>, KeyMaker) {
    let (cache, maker) = (Cache::default(), KeyMaker::new().unwrap());
    for number in 0..count {
        let key = maker.key(0x303, &number.to_be_bytes());
        let stored =
            cache.store(key, Session::new(number), Expiry::from_seconds(expiry(number)), 0);
        assert_eq!(stored, Stored::Added { evicted: None });
    }
    (cache, maker)
}

/// F12: a flush detaches in batches, and one that finds nothing due locks nothing.
#[test]
fn f12_batches_are_bounded() {
    let (cache, _) = filled(1000, i64::from);
    let mut due = Vec::new();
    let mut calls = 0;
    while cache.take_due(Cutoff::Before(500), &mut due) {
        calls += 1;
        assert_eq!(due.len(), calls * BATCH);
    }
    assert_eq!(due.len(), 500);
    let batches = cache.statistics().batches;
    assert!(!cache.take_due(Cutoff::Before(500), &mut due));
    assert_eq!(cache.statistics().batches, batches, "nothing was due: no batch was begun");
}

/// C20: the storage of an emptied cache is given up; the counts are kept.
#[test]
fn c20_an_emptied_cache_gives_its_storage_up() {
    const STORED: u32 = if cfg!(miri) { 2_000 } else { 100_000 };
    let (cache, _) = filled(STORED, |number| i64::from(number % 977));
    assert!(cache.order.lock().is_roomy());
    let mut due = Vec::new();
    while cache.take_due(Cutoff::All, &mut due) {}
    assert!(!cache.order.lock().is_roomy());
    assert_eq!(cache.validate(), Ok(()));
    assert_eq!(cache.statistics().flushed, u64::from(STORED));
    assert_eq!(cache.statistics().stored, u64::from(STORED));
}

/// C20: a cache that stores nothing is small.
#[test]
fn c20_an_idle_cache_is_small() {
    assert!(size_of::<Cache<Session>>() <= 328, "{}", size_of::<Cache<Session>>());
}

/// Seconds that sessions left out of turn do not pile up.
#[test]
fn emptied_deadlines_are_swept_out() {
    let (cache, maker) = filled(1, |_| 0);
    let (key, session) = (maker.key(1, b"moving"), Session::new(7));
    cache.store(key, session.clone(), Expiry::from_seconds(1), 0);
    for expiry in 2..i64::from(many(100_000)) {
        assert!(cache.re_expire(key, &session, Expiry::from_seconds(expiry)));
    }
    assert!(cache.order.lock().deadlines() <= 256);
    assert_eq!(cache.validate(), Ok(()));
}

/// C4: version, length and every byte of the id count.
#[test]
fn c4_keys_cover_the_whole_id() {
    let maker = KeyMaker::new().unwrap();
    let id = [7u8; 32];
    let key = maker.key(0x303, &id);
    assert_eq!(key, maker.key(0x303, &id));
    assert_ne!(key, maker.key(0x304, &id));
    assert_ne!(key, maker.key(0x303, &id[..31]));
    for byte in 0..32 {
        let mut other = id;
        other[byte] ^= 1;
        assert_ne!(key, maker.key(0x303, &other));
    }
}

/// F1, F9: an expiry that overflows is never reached; "before" is strict at both ends.
#[test]
fn f9_cutoffs_are_literal() {
    assert!(!Cutoff::Before(i64::MAX).reaches(Expiry::new(i64::MAX, 1)));
    assert!(Cutoff::All.reaches(Expiry::NEVER));
    assert!(!Cutoff::Before(100).reaches(Expiry::from_seconds(100)));
    assert!(Cutoff::Before(101).reaches(Expiry::from_seconds(100)));
    assert!(!Cutoff::Before(i64::MIN).reaches(Expiry::from_seconds(i64::MIN)));
    assert_eq!(Expiry::new(i64::MAX - 1, 5), Expiry::NEVER);
}

/// F13, C1: threads that store, take, flush and look up; each session leaves once, and the size holds.
#[test]
fn f13_threads_remove_each_session_once() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Debug, Clone)]
    struct Shared(Arc<AtomicU32>);
    impl PartialEq for Shared {
        fn eq(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }
    impl Handle for Shared {}
    const LIMIT: usize = 300;
    const EACH: u32 = many(5_000);
    let (cache, maker) = (Cache::<Shared>::default(), KeyMaker::new().unwrap());
    let left = AtomicU32::new(0);
    let leave = |session: Shared| {
        assert_eq!(session.0.fetch_add(1, Ordering::Relaxed), 0, "a session left twice");
        left.fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (cache, leave) = (&cache, &leave);
            scope.spawn(move || {
                for number in 0..EACH {
                    let key = maker.key(1, &[thread.to_be_bytes(), number.to_be_bytes()].concat());
                    let session = Shared(Arc::default());
                    let expiry = Expiry::from_seconds(i64::from(number * 7 % 100));
                    match cache.store(key, session, expiry, LIMIT) {
                        Stored::Added { evicted } => evicted.into_iter().for_each(leave),
                        other => panic!("{other:?}"),
                    }
                    assert!(cache.len() <= LIMIT);
                    cache.get(key);
                    if number % 3 == 0 {
                        cache.take(key).into_iter().for_each(leave);
                    }
                    if number % 64 == 0 {
                        let mut due = Vec::new();
                        while cache.take_due(Cutoff::Before(20), &mut due) {}
                        due.into_iter().for_each(leave);
                    }
                }
            });
        }
    });
    assert_eq!(cache.validate(), Ok(()));
    assert_eq!(left.into_inner() as usize + cache.len(), 4 * EACH as usize);
}

/// A session that counts the caches that it is stored in.
#[derive(Debug, Clone)]
struct Counted(std::sync::Arc<std::sync::atomic::AtomicI64>);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        std::sync::Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Handle for Counted {
    fn enters(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn left(&self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Counted {
    fn new() -> Self {
        Self(Default::default())
    }

    fn count(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// C6: a session is counted for as long as it is stored, in whatever way it comes and goes.
#[test]
fn c6_a_stored_session_is_counted() {
    let (cache, maker) = (Cache::<Counted>::default(), KeyMaker::new().unwrap());
    let key = |number: u8| maker.key(1, &[number]);
    let at = Expiry::from_seconds;
    let [one, two, three] = std::array::from_fn(|_| Counted::new());
    let counts = || [one.count(), two.count(), three.count()];
    cache.store(key(1), one.clone(), at(1), 2);
    assert_eq!(counts(), [1, 0, 0]);
    cache.store(key(1), one.clone(), at(2), 2);
    assert_eq!(counts(), [1, 0, 0], "stored again");
    cache.store(key(1), two.clone(), at(2), 2);
    assert_eq!(counts(), [0, 1, 0], "replaced");
    cache.store(key(2), three.clone(), at(3), 2);
    cache.re_key(key(1), key(2), &two);
    assert_eq!(counts(), [0, 1, 0], "found by another key, in another's place");
    cache.store(key(1), one.clone(), at(1), 2);
    cache.store(key(3), three.clone(), at(1), 2);
    assert_eq!(counts(), [0, 1, 1], "evicted");
    assert!(cache.take(key(3)).is_some());
    assert_eq!(counts(), [0, 1, 0], "taken");
    assert!(cache.take_due(Cutoff::All, &mut Vec::new()) || cache.is_empty());
    assert_eq!(counts(), [0, 0, 0], "flushed");
    assert!(cache.put_back(key(3), three.clone(), at(1)).is_none());
    assert_eq!(counts(), [0, 0, 1], "put back");
    let mut left = Vec::new();
    cache.evict(0, &mut left);
    assert_eq!(counts(), [0, 0, 0], "the size was lowered");
}

/// C14: another set of sessions has another number, also after the storage of a large cache was given up.
#[test]
fn c14_changes_never_come_back() {
    const STORED: u32 = many(20_000);
    let (cache, maker) = filled(STORED, |_| 1000);
    let mut seen = cache.changes();
    let mut rises = |what: &str| {
        let now = cache.changes();
        assert!(now > seen, "{what}: {now} after {seen}");
        seen = now;
    };
    let sessions = cache.snapshot().unwrap();
    for (number, session) in sessions.iter().enumerate() {
        let [old, new] = [0, 1].map(|version| maker.key(version, &(number as u32).to_be_bytes()));
        cache.re_key(old, new, session);
    }
    let key = maker.key(7, b"another");
    assert_eq!(
        cache.store(key, sessions[0].clone(), Expiry::from_seconds(1), 0),
        Stored::Added { evicted: None }
    );
    rises("stored");
    cache.store(key, sessions[1].clone(), Expiry::from_seconds(1), 0);
    rises("replaced");
    cache.re_key(key, maker.key(8, b"another"), &sessions[1]);
    rises("another key");
    while cache.take_due(Cutoff::All, &mut Vec::new()) {}
    assert!(cache.is_empty());
    rises("flushed");
    drop(cache.store(key, sessions[0].clone(), Expiry::from_seconds(1), 0));
    rises("stored again");
    let before = cache.changes();
    assert!(cache.re_expire(key, &sessions[0], Expiry::from_seconds(9)));
    assert_eq!(
        cache.changes(),
        before,
        "another expiry is not another set: whoever reads the table goes on"
    );
}

/// P10: a child that was forked beside another thread's changes. What that thread was inside of may be lost, but
/// nothing hangs, and the cache serves.
#[test]
#[cfg_attr(miri, ignore = "forks")]
fn p10_a_child_goes_on() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::sync::in_child;

    for eviction in [Eviction::EarliestExpiry, Eviction::LeastRecentlyUsed] {
        let (cache, maker) = (Cache::<Counted>::new(eviction, None), KeyMaker::new().unwrap());
        let key = |number: u32| maker.key(0, &number.to_be_bytes());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let sessions: Vec<_> = (0..400).map(|_| Counted::new()).collect();
                while !stop.load(Ordering::Relaxed) {
                    for (number, session) in (0..).zip(&sessions) {
                        cache.store(key(number), session.clone(), Expiry::from_seconds(1), 300);
                        cache.get(key(number / 2));
                    }
                    while cache.take_due(Cutoff::Before(2), &mut Vec::new()) {}
                }
            });
            let own = Counted::new();
            for _ in 0..200 {
                assert!(in_child(|| {
                    let found = cache.get(key(1)).is_some() && cache.contains(key(1));
                    let listed = cache.snapshot().is_some_and(|listed| listed.len() <= 300);
                    let stored = cache.store(key(9999), own.clone(), Expiry::from_seconds(1), 300);
                    drop((found, stored));
                    let there = cache.get(key(9999)).is_some_and(|found| found == own);
                    let whole = cache.validate() == Ok(());
                    while cache.take_due(Cutoff::All, &mut Vec::new()) {}
                    listed && there && whole && cache.is_empty() && own.count() == 0
                }));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
