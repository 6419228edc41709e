//! Sessions that know how often they have come and left, and the account at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cache::{Cache, Cutoff, Eviction, Expiry, Handle, Key, KeyMaker, Stored};

/// A session is an identity. How often it was stored and handed back is no affair of the checker's: atomics
/// of the processor's count it.
#[derive(Debug, Clone, Default)]
pub struct Session(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    came: AtomicU32,
    left: AtomicU32,
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Handle for Session {}

impl Session {
    /// The times that the cache has handed it back for good.
    pub fn left(&self) -> u32 {
        self.0.left.load(Ordering::Relaxed)
    }

    fn came(&self) -> u32 {
        self.0.came.load(Ordering::Relaxed)
    }

    fn come(&self) {
        self.0.came.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keys that were not made before: of one shard or of the other, so that a model says which locks meet.
pub fn keys(shards: &[usize]) -> Vec<Key> {
    let maker = KeyMaker::new().expect("there is memory");
    static MADE: AtomicU32 = AtomicU32::new(0);
    let mut ids = std::iter::repeat_with(|| MADE.fetch_add(1, Ordering::Relaxed));
    shards
        .iter()
        .map(|&shard| {
            let mut keys = ids.by_ref().map(|id| maker.key(0x303, &id.to_be_bytes()));
            keys.find(|key| key.shard() == shard).expect("half of all keys are in each shard")
        })
        .collect()
}

/// A cache and all sessions that were ever given to it.
#[derive(Debug, Default)]
pub struct World {
    pub cache: Cache<Session>,
    given: std::sync::Mutex<Vec<Session>>,
    /// Sessions that left for another one of their key, which the cache's statistics do not count.
    displaced: AtomicU32,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// With a cache in which lookups count as well.
    pub fn least_recently_used() -> Arc<Self> {
        let cache = Cache::new(Eviction::LeastRecentlyUsed, None);
        Arc::new(Self { cache, ..Self::default() })
    }

    /// A new session, given to the cache soon.
    pub fn session(&self) -> Session {
        let session = Session::default();
        self.given.lock().unwrap().push(session.clone());
        session
    }

    /// Notes what the cache has handed back.
    pub fn leave(&self, sessions: impl IntoIterator<Item = Session>) {
        for session in sessions {
            session.0.left.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn displace(&self, sessions: impl IntoIterator<Item = Session>) {
        self.leave(sessions.into_iter().inspect(|_| {
            self.displaced.fetch_add(1, Ordering::Relaxed);
        }));
    }

    /// Stores as `takeover` does: until there is room. Returns what it took the place of.
    pub fn store(&self, key: Key, session: &Session, expiry: i64, limit: usize) -> Option<Session> {
        let mut handle = session.clone();
        loop {
            match self.cache.store(key, handle, Expiry::from_seconds(expiry), limit) {
                Stored::Added { evicted } => {
                    session.come();
                    self.leave(evicted);
                    return None;
                }
                Stored::Replaced(former) => {
                    session.come();
                    self.displace([former.clone()]);
                    return Some(former);
                }
                Stored::Present(same) => return Some(same),
                Stored::NoMemory(_) => panic!("memory is not short here"),
                Stored::Full { session: refused, replaced } => {
                    handle = refused;
                    let mut left = Vec::new();
                    let more = self.cache.evict(limit, &mut left);
                    assert!(more == 0 || !left.is_empty(), "memory is not short here");
                    self.leave(left);
                    self.displace(replaced);
                }
            }
        }
    }

    pub fn evict(&self, limit: usize) {
        let mut left = Vec::new();
        while self.cache.evict(limit, &mut left) > 0 {}
        self.leave(left);
    }

    /// A new session under this key, with room for any number.
    pub fn add(&self, key: Key, expiry: i64) -> Session {
        let session = self.session();
        self.store(key, &session, expiry, 0);
        session
    }

    /// Flushes as `takeover` does, and returns what left.
    pub fn flush(&self, cutoff: Cutoff) -> Vec<Session> {
        let mut due = Vec::new();
        while self.cache.take_due(cutoff, &mut due) {}
        self.leave(due.iter().cloned());
        due
    }

    /// Flushes, but finds that the session of this key has been moved meanwhile, as `takeover` does.
    pub fn flush_but(&self, key: Key, moved: &Session, expiry: i64) {
        let mut due = Vec::new();
        while self.cache.take_due(Cutoff::All, &mut due) {}
        for session in due {
            if &session == moved {
                session.0.left.fetch_add(1, Ordering::Relaxed);
                match self.cache.put_back(key, session, Expiry::from_seconds(expiry)) {
                    None => moved.come(),
                    Some(_) => continue, // and so it has left
                }
            } else {
                self.leave([session]);
            }
        }
    }

    pub fn take(&self, key: Key) -> Option<Session> {
        let taken = self.cache.take(key);
        self.leave(taken.clone());
        taken
    }

    pub fn take_exactly(&self, key: Key, session: &Session) -> bool {
        let taken = self.cache.take_exactly(key, session);
        assert!(taken.as_ref().is_none_or(|taken| taken == session), "another one was taken");
        let found = taken.is_some();
        self.leave(taken);
        found
    }

    pub fn re_key(&self, old: Key, new: Key, session: &Session) {
        self.displace(self.cache.re_key(old, new, session));
    }

    /// All threads have ended. Each session was handed back once for each time that it was stored, or is
    /// still there; the cache fits
    /// together, its counts with it, and it held one reference on each session that is there.
    pub fn settle(self: Arc<Self>, at_most: usize) {
        let world = Arc::into_inner(self).expect("the threads have ended");
        assert_eq!(world.cache.validate(), Ok(()));
        let stored = world.cache.snapshot().expect("memory is not short here");
        let given = world.given.into_inner().unwrap();
        assert!(stored.len() <= at_most, "{} stored, {at_most} at most", stored.len());
        assert_eq!(world.cache.len(), stored.len());
        let present: Vec<usize> = given
            .iter()
            .map(|given| stored.iter().filter(|&stored| stored == given).count())
            .collect();
        for (session, &present) in given.iter().zip(&present) {
            assert_eq!(session.left() as usize + present, session.came() as usize, "{session:?}");
        }
        let counts = world.cache.statistics();
        let displaced = u64::from(world.displaced.into_inner());
        let gone = counts.evicted + counts.flushed + counts.taken + displaced;
        assert_eq!(counts.stored, given.iter().map(|session| u64::from(session.came())).sum());
        assert_eq!(counts.stored - gone, stored.len() as u64, "{counts:?}, {displaced} displaced");
        drop(stored);
        let references = || given.iter().map(|session| Arc::strong_count(&session.0));
        let before: Vec<usize> = references().collect();
        drop(world.cache);
        for ((before, after), present) in before.into_iter().zip(references()).zip(present) {
            assert_eq!(
                before - after,
                present,
                "a reference more or less than one for each stored"
            );
        }
    }
}
