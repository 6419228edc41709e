//! The oracle: what the cache should do, in the simplest way, and operations to compare the two. For the
//! unit tests and for the fuzzer (`checks/fuzz/`): one oracle, whoever makes the operations up.

use std::rc::Rc;

use super::{Cache, Cutoff, Eviction, Expiry, Handle, Key, KeyMaker, Stored};
use crate::memory;

/// The keys that operations speak of.
pub const KEYS: u8 = 48;
/// The objects that each key has.
pub const OBJECTS: u8 = 3;

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

impl Handle for Session {}

/// The oracle: a list, searched from the start.
#[derive(Default, Clone)]
struct Oracle {
    /// In the order of storing.
    stored: Vec<(Key, Session, Expiry)>,
    eviction: Eviction,
    /// The stored sessions, in the order of their last use.
    used: Vec<Key>,
}

impl Oracle {
    /// Notes a use, if the key is in use.
    fn use_again(&mut self, key: Key) {
        self.used.retain(|&used| used != key);
        if self.position(key).is_some() {
            self.used.push(key);
        }
    }

    /// Evicts a session.
    fn pop_for_room(&mut self) -> Option<Session> {
        match self.eviction {
            Eviction::EarliestExpiry => self.pop(Cutoff::All),
            Eviction::LeastRecentlyUsed => self.take(*self.used.first()?),
        }
    }

    fn count_due(&self, cutoff: Cutoff) -> u64 {
        self.stored.iter().filter(|&&(.., expiry)| cutoff.reaches(expiry)).count() as u64
    }

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
                self.use_again(key);
                return Stored::Present(session.clone());
            }
            let (_, former, _) = self.stored.remove(at);
            self.use_again(key);
            if limit > 0 && self.stored.len() + 1 > limit {
                return Stored::Full { session: session.clone(), replaced: Some(former) };
            }
            self.stored.push((key, session.clone(), expiry));
            self.use_again(key);
            return Stored::Replaced(former);
        }
        if limit > 0 && self.stored.len() > limit {
            return Stored::Full { session: session.clone(), replaced: None };
        }
        let evicted =
            if limit > 0 && self.stored.len() == limit { self.pop_for_room() } else { None };
        self.stored.push((key, session.clone(), expiry));
        self.use_again(key);
        Stored::Added { evicted }
    }

    fn pop(&mut self, cutoff: Cutoff) -> Option<Session> {
        // min_by_key returns the first of equals.
        let (at, &(.., expiry)) = self.stored.iter().enumerate().min_by_key(|(_, s)| s.2)?;
        let due = match cutoff {
            Cutoff::All => true,
            Cutoff::Before(second) => expiry.seconds() < second,
        };
        due.then(|| self.remove(at))
    }

    fn take(&mut self, key: Key) -> Option<Session> {
        self.position(key).map(|at| self.remove(at))
    }

    fn remove(&mut self, at: usize) -> Session {
        let (key, session, _) = self.stored.remove(at);
        self.use_again(key);
        session
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

    fn re_key(&mut self, old: Key, new: Key, session: &Session) -> Option<Session> {
        let at = self.position(old).filter(|&at| old != new && &self.stored[at].1 == session)?;
        let expiry = self.stored[at].2;
        let session = self.remove(at);
        let displaced = self.take(new);
        self.stored.push((new, session, expiry));
        self.use_again(new);
        displaced
    }

    fn remove_exactly(&mut self, key: Key, session: &Session) -> Option<Session> {
        let at = self.position(key).filter(|&at| &self.stored[at].1 == session)?;
        Some(self.remove(at))
    }
}

/// An operation on the cache. A key is a number below [`KEYS`], an object one below [`OBJECTS`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are the arguments of the cache's functions")]
pub enum Operation {
    Store {
        key: u8,
        object: u8,
        expiry: i64,
        limit: usize,
    },
    Evict {
        limit: usize,
    },
    Flush(Cutoff),
    Take(u8),
    TakeExactly {
        key: u8,
        object: u8,
    },
    Get(u8),
    ReExpire {
        key: u8,
        object: u8,
        expiry: i64,
    },
    ReKey {
        old: u8,
        new: u8,
        object: u8,
    },
    /// The allocation of this number, counted from the next operation's first, fails in that operation.
    Starve(u8),
}

impl Operation {
    /// An operation for each four bytes: a fuzzer's.
    pub fn from_bytes([what, key, object, number]: [u8; 4]) -> Self {
        let expiry = match number {
            250 => i64::MIN,
            251 => i64::MAX,
            252 => i64::MAX - 1,
            253 => -1,
            _ => i64::from(number % 16),
        };
        let (key, other) = (key % KEYS, number % KEYS);
        let (object, limit) = (object % OBJECTS, usize::from(object / OBJECTS % 44));
        match what % 32 {
            0..=13 => Self::Store { key, object, expiry, limit },
            14 => Self::Evict { limit },
            15 => Self::Flush(Cutoff::All),
            16..=17 => Self::Flush(Cutoff::Before(expiry)),
            18..=19 => Self::Take(key),
            20 => Self::TakeExactly { key, object },
            21..=22 => Self::Get(key),
            23..=26 => Self::ReExpire { key, object, expiry },
            27..=29 => Self::ReKey { old: key, new: other, object },
            _ => Self::Starve(number % 8),
        }
    }
}

impl Cache<Session> {
    /// The expiry of each key, as the order has it.
    fn expiry_of(&self, key: Key) -> Option<Expiry> {
        let order = self.lock_order();
        let slot = self.shards.get()?[key.shard()].lock().find(key)?;
        Some(order.expiry(key.place(slot)))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, cache: T, oracle: T) -> Result<(), String> {
    if cache == oracle {
        Ok(())
    } else {
        Err(format!("{what}: the cache has {cache:?}, the oracle {oracle:?}"))
    }
}

/// Does all of `script` to a cache of this kind and to the oracle.
///
/// Short of memory, an operation does what it always does, or says so and has changed nothing; an order
/// that could not be changed is the former one.
///
/// # Errors
///
/// Says at which operation they differ, and how.
pub fn agrees(eviction: Eviction, script: &[Operation]) -> Result<(), String> {
    let mut both = Both {
        cache: Cache::new(eviction, None),
        oracle: Oracle { eviction, ..Oracle::default() },
        maker: KeyMaker::new().expect("there is memory"),
        objects: (0..u32::from(KEYS) * u32::from(OBJECTS)).map(Session::new).collect(),
        starve: None,
    };
    for (number, operation) in script.iter().enumerate() {
        both.perform(operation)
            .and_then(|()| both.compare())
            .map_err(|difference| format!("operation {number}, {operation:?}: {difference}"))?;
    }
    Ok(())
}

struct Both {
    cache: Cache<Session>,
    oracle: Oracle,
    maker: KeyMaker,
    objects: Vec<Session>,
    starve: Option<u8>,
}

impl Both {
    fn key(&self, number: u8) -> Key {
        self.maker.key(0x303, &[number])
    }

    fn object(&self, key: u8, object: u8) -> Session {
        self.objects[usize::from(key) * usize::from(OBJECTS) + usize::from(object)].clone()
    }

    /// Does something to the cache, and tells whether it lacked memory.
    fn starving<R>(&mut self, action: impl FnOnce(&Cache<Session>) -> R) -> (R, bool) {
        match self.starve.take() {
            Some(at) => memory::starving(u64::from(at), || action(&self.cache)),
            None => (action(&self.cache), false),
        }
    }

    /// Returns whether a session that was to move in the order has stayed where it was, for lack of memory.
    fn has_stayed(&self, starved: bool, key: Key, before: &Oracle) -> bool {
        let former = before.position(key).map(|at| before.stored[at].2);
        starved && self.cache.expiry_of(key) == former
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), String> {
        let before = self.oracle.clone();
        match *operation {
            Operation::Store { key: number, object, expiry, limit } => {
                let (key, session) = (self.key(number), self.object(number, object));
                let expiry = Expiry::from_seconds(expiry);
                let expected = self.oracle.store(key, &session, expiry, limit);
                let again = session.clone();
                let (stored, starved) =
                    self.starving(|cache| cache.store(key, again, expiry, limit));
                if starved && stored == Stored::NoMemory(session) {
                    self.oracle = before;
                } else {
                    if expected == stored
                        && matches!(stored, Stored::Present(_))
                        && self.has_stayed(starved, key, &before)
                    {
                        self.oracle = before;
                        self.oracle.use_again(key);
                    }
                    same("store", stored, expected)?;
                }
            }
            Operation::Evict { limit } => {
                // As much as there is memory for, then to the end.
                for _ in 0..2 {
                    let (left, _) = self.starving(|cache| {
                        let mut all = Vec::new();
                        while cache.evict(limit, &mut all) > 0 {}
                        all
                    });
                    for session in left {
                        same("evict", Some(session), self.oracle.pop_for_room())?;
                    }
                }
                same("evict to the limit", self.cache.len() <= limit, true)?;
            }
            Operation::Flush(cutoff) => {
                same("due", self.cache.count_due(cutoff), self.oracle.count_due(cutoff))?;
                for _ in 0..2 {
                    let (due, _) = self.starving(|cache| {
                        let mut all = Vec::new();
                        while cache.take_due(cutoff, &mut all) {}
                        all
                    });
                    for session in due {
                        same("flush", Some(session), self.oracle.pop(cutoff))?;
                    }
                }
                same("flush to the end", None, self.oracle.pop(cutoff))?;
            }
            Operation::Take(number) => {
                let key = self.key(number);
                let (taken, _) = self.starving(|cache| cache.take(key));
                same("take", taken, self.oracle.take(key))?;
            }
            Operation::TakeExactly { key: number, object } => {
                let (key, session) = (self.key(number), self.object(number, object));
                let (taken, _) = self.starving(|cache| cache.take_exactly(key, &session));
                same("take exactly", taken, self.oracle.remove_exactly(key, &session))?;
            }
            Operation::Get(number) => {
                let key = self.key(number);
                let ((found, has), _) =
                    self.starving(|cache| (cache.get(key), cache.contains(key)));
                let expected = self.oracle.position(key).map(|at| self.oracle.stored[at].1.clone());
                same("contains", has, expected.is_some())?;
                same("get", found, expected)?;
                self.oracle.use_again(key);
            }
            Operation::ReExpire { key: number, object, expiry } => {
                let (key, session) = (self.key(number), self.object(number, object));
                let expiry = Expiry::from_seconds(expiry);
                let expected = self.oracle.re_expire(key, &session, expiry);
                let (found, starved) =
                    self.starving(|cache| cache.re_expire(key, &session, expiry));
                same("re-expire", found, expected)?;
                if found && self.has_stayed(starved, key, &before) {
                    self.oracle = before;
                }
            }
            Operation::ReKey { old, new, object } => {
                let session = self.object(old, object);
                let (old, new) = (self.key(old), self.key(new));
                let expected = self.oracle.re_key(old, new, &session);
                let (displaced, starved) = self.starving(|cache| cache.re_key(old, new, &session));
                if starved && displaced.is_none() && self.cache.contains(old) {
                    self.oracle = before;
                } else {
                    same("re-key", displaced, expected)?;
                }
            }
            Operation::Starve(at) => self.starve = Some(at),
        }
        Ok(())
    }

    /// Holds all that is stored against the oracle.
    fn compare(&self) -> Result<(), String> {
        self.cache.validate()?;
        same("number", self.cache.len(), self.oracle.stored.len())?;
        for &(key, _, expiry) in &self.oracle.stored {
            same("expiry", self.cache.expiry_of(key), Some(expiry))?;
        }
        let numbers = |mut all: Vec<u32>| {
            all.sort_unstable();
            all
        };
        let listed = self.cache.snapshot().ok_or("no memory for a snapshot")?;
        same(
            "snapshot",
            numbers(listed.iter().map(|session| *session.0).collect()),
            numbers(self.oracle.stored.iter().map(|(_, session, _)| *session.0).collect()),
        )?;
        Ok(())
    }
}
