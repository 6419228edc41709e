//! The cache against a naive oracle, under random operations, and its promises one by one.

use std::rc::Rc;

use proptest::prelude::*;

use super::{BATCH, Cache, Cutoff, Expiry, Key, KeyMaker, Stored};

/// A session is an identity: equal only to itself.
#[derive(Debug, Clone)]
pub(super) struct Session(Rc<u32>);

impl Session {
    pub(super) fn new(number: u32) -> Self {
        Self(Rc::new(number))
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Session {}

/// What the cache should do, told in the simplest way: a list, searched from the start.
#[derive(Default)]
struct Oracle {
    /// In the order of storing.
    stored: Vec<(Key, Session, Expiry)>,
}

impl Oracle {
    fn position(&self, key: Key) -> Option<usize> {
        self.stored.iter().position(|&(found, ..)| found == key)
    }

    fn store(
        &mut self,
        key: Key,
        session: &Session,
        expiry: Expiry,
        limit: usize,
    ) -> Stored<Session> {
        if let Some(at) = self.position(key) {
            if &self.stored[at].1 == session {
                self.re_expire(key, session, expiry);
                return Stored::Present(session.clone());
            }
            let (_, former, _) = self.stored.remove(at);
            if limit > 0 && self.stored.len() + 1 > limit {
                return Stored::Full { session: session.clone(), replaced: Some(former) };
            }
            self.stored.push((key, session.clone(), expiry));
            return Stored::Replaced(former);
        }
        if limit > 0 && self.stored.len() > limit {
            return Stored::Full { session: session.clone(), replaced: None };
        }
        let evicted =
            if limit > 0 && self.stored.len() == limit { self.pop(Cutoff::All) } else { None };
        self.stored.push((key, session.clone(), expiry));
        Stored::Added { evicted }
    }

    fn pop(&mut self, cutoff: Cutoff) -> Option<Session> {
        // min_by_key returns the first of equals.
        let (at, &(.., expiry)) = self.stored.iter().enumerate().min_by_key(|(_, s)| s.2)?;
        cutoff.reaches(expiry).then(|| self.stored.remove(at).1)
    }

    fn take(&mut self, key: Key) -> Option<Session> {
        self.position(key).map(|at| self.stored.remove(at).1)
    }

    fn re_expire(&mut self, key: Key, session: &Session, expiry: Expiry) -> bool {
        let Some(at) = self.position(key).filter(|&at| &self.stored[at].1 == session) else {
            return false;
        };
        if self.stored[at].2 != expiry {
            let (key, session, _) = self.stored.remove(at);
            self.stored.push((key, session, expiry));
        }
        true
    }
}

impl Oracle {
    fn re_key(&mut self, old: Key, new: Key, session: &Session) -> Option<Session> {
        let at = self.position(old).filter(|&at| old != new && &self.stored[at].1 == session)?;
        let (_, session, expiry) = self.stored.remove(at);
        let displaced = self.take(new);
        self.stored.push((new, session, expiry));
        displaced
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Store { key: u8, object: u8, expiry: i64, limit: usize },
    Evict { limit: usize },
    Flush(Cutoff),
    Take(u8),
    TakeExactly { key: u8, object: u8 },
    Get(u8),
    ReExpire { key: u8, object: u8, expiry: i64 },
    ReKey { old: u8, new: u8, object: u8 },
}

fn expiries() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..12i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => any::<i64>()]
}

fn operations() -> impl Strategy<Value = Operation> {
    let limits = || prop_oneof![3 => Just(0usize), 5 => 1..40usize];
    let keys = || 0..48u8;
    let objects = || 0..3u8;
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
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    /// F1, F2, F6, C1, C2, C3, C6: whatever is done, the cache does what a list would do.
    #[test]
    fn does_what_the_oracle_does(script in prop::collection::vec(operations(), 1..250)) {
        let cache = Cache::default();
        let mut oracle = Oracle::default();
        let maker = KeyMaker::default();
        let key = |number: u8| maker.key(0x303, &[number]);
        let objects: Vec<Session> = (0..48 * 3).map(Session::new).collect();
        let object = |key: u8, object: u8| &objects[usize::from(key) * 3 + usize::from(object)];

        for operation in script {
            match operation {
                Operation::Store { key: k, object: o, expiry, limit } => {
                    let (session, expiry) = (object(k, o), Expiry::from_seconds(expiry));
                    prop_assert_eq!(
                        cache.store(key(k), session.clone(), expiry, limit),
                        oracle.store(key(k), session, expiry, limit)
                    );
                }
                Operation::Evict { limit } => {
                    let mut left = Vec::new();
                    while cache.evict(limit, &mut left) > 0 {}
                    for session in left {
                        prop_assert_eq!(oracle.pop(Cutoff::All), Some(session));
                    }
                    prop_assert!(cache.len() <= limit);
                }
                Operation::Flush(cutoff) => {
                    let mut due = Vec::new();
                    while cache.take_due(cutoff, &mut due) {}
                    for session in due {
                        prop_assert_eq!(oracle.pop(cutoff), Some(session));
                    }
                    prop_assert_eq!(oracle.pop(cutoff), None);
                }
                Operation::Take(k) => prop_assert_eq!(cache.take(key(k)), oracle.take(key(k))),
                Operation::TakeExactly { key: k, object: o } => {
                    let session = object(k, o);
                    let stored = oracle.position(key(k)).is_some_and(|at| &oracle.stored[at].1 == session);
                    let expected = if stored { oracle.take(key(k)) } else { None };
                    prop_assert_eq!(cache.take_exactly(key(k), session), expected);
                }
                Operation::Get(k) => {
                    let expected = oracle.position(key(k)).map(|at| oracle.stored[at].1.clone());
                    prop_assert_eq!(cache.contains(key(k)), expected.is_some());
                    prop_assert_eq!(cache.get(key(k)), expected);
                }
                Operation::ReKey { old, new, object: o } => {
                    let session = object(old, o);
                    prop_assert_eq!(
                        cache.re_key(key(old), key(new), session),
                        oracle.re_key(key(old), key(new), session)
                    );
                }
                Operation::ReExpire { key: k, object: o, expiry } => {
                    let (session, expiry) = (object(k, o), Expiry::from_seconds(expiry));
                    prop_assert_eq!(
                        cache.re_expire(key(k), session, expiry),
                        oracle.re_expire(key(k), session, expiry)
                    );
                }
            }
            prop_assert_eq!(cache.len(), oracle.stored.len());
            prop_assert_eq!(cache.validate(), Ok(()));
            let mut snapshot: Vec<u32> = cache.snapshot().unwrap().iter().map(|s| *s.0).collect();
            let mut stored: Vec<u32> = oracle.stored.iter().map(|(_, s, _)| *s.0).collect();
            snapshot.sort_unstable();
            stored.sort_unstable();
            prop_assert_eq!(snapshot, stored);
        }
    }
}

pub(super) fn filled(count: u32, expiry: impl Fn(u32) -> i64) -> (Cache<Session>, KeyMaker) {
    let (cache, maker) = (Cache::default(), KeyMaker::default());
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
    let (cache, _) = filled(100_000, |number| i64::from(number % 977));
    assert!(cache.order.lock().is_roomy());
    let mut due = Vec::new();
    while cache.take_due(Cutoff::All, &mut due) {}
    assert!(!cache.order.lock().is_roomy());
    assert_eq!(cache.validate(), Ok(()));
    assert_eq!(cache.statistics().flushed, 100_000);
    assert_eq!(cache.statistics().stored, 100_000);
}

/// C20: a cache that stores nothing is small.
#[test]
fn c20_an_idle_cache_is_small() {
    assert!(size_of::<Cache<Session>>() <= 320, "{}", size_of::<Cache<Session>>());
}

/// Seconds that sessions left out of turn do not pile up.
#[test]
fn emptied_deadlines_are_swept_out() {
    let (cache, maker) = filled(1, |_| 0);
    let (key, session) = (maker.key(1, b"moving"), Session::new(7));
    cache.store(key, session.clone(), Expiry::from_seconds(1), 0);
    for expiry in 2..100_000 {
        assert!(cache.re_expire(key, &session, Expiry::from_seconds(expiry)));
    }
    assert!(cache.order.lock().deadlines() <= 256);
    assert_eq!(cache.validate(), Ok(()));
}

/// C4: version, length and every byte of the id count, and each maker has a seed of its own.
#[test]
fn c4_keys_cover_the_whole_id() {
    let maker = KeyMaker::default();
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
    assert_ne!(key, KeyMaker::default().key(0x303, &id));
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
    const LIMIT: usize = 300;
    const EACH: u32 = 5_000;
    let (cache, maker) = (Cache::<Shared>::default(), KeyMaker::default());
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
