//! The stand-ins that a context has planted in its real cache, for a moment ([`super::stand_ins`]).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cache::Key;
use crate::guard::guard;
use crate::libssl::{Session, SessionRef};
use crate::stack::this_thread;
use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(crate) struct Planted {
    plants: Mutex<Vec<Plant>>,
    /// Their number. Each handshake looks at it, and mostly finds 0.
    count: AtomicUsize,
    /// Keys of what is being taken out and planted at this moment.
    claims: Mutex<Vec<Key>>,
}

#[derive(Debug)]
pub(super) struct Plant {
    thread: usize,
    pub(super) stand_in: Session,
    /// The session that was taken out of our cache, and goes back if libssl has no use for it.
    pub(super) stored: Option<Session>,
    /// The session was taken from others, and goes nowhere.
    is_taken: bool,
}

/// The result of adding a plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It is to be planted.
    New,
    /// Another one with its key serves both: of those that come at once, the first that removes it is served.
    Shared,
    NoMemory,
}

/// The right to take a session out and plant it. Between the two it is nowhere: another connection with the same ticket
/// would be refused, and mark the session, which libssl then refuses to the first one as well.
pub(crate) struct Claim<'a> {
    planted: &'a Planted,
    key: Key,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claims = self.planted.claims.lock();
        if let Some(at) = claims.iter().position(|&key| key == self.key) {
            claims.swap_remove(at);
        }
    }
}

impl Planted {
    /// Claims a ticket for a connection that refuses replays. `None` if another one has just come with it, or out of
    /// memory: a full handshake, as a replay gets.
    pub(super) fn claim(&self, key: Key) -> Option<Claim<'_>> {
        let mut claims = self.claims.lock();
        if claims.contains(&key) || claims.try_reserve(1).is_err() {
            return None;
        }
        claims.push(key);
        Some(Claim { planted: self, key })
    }

    /// Notes a stand-in of this thread.
    pub(super) fn add(&self, stand_in: Session, stored: Option<Session>, is_taken: bool) -> Added {
        let plant = Plant { thread: this_thread(), stand_in, stored, is_taken };
        guard(Added::NoMemory, || {
            let mut plants = self.plants.lock();
            let serves = |other: &Plant| {
                other.stored.is_some()
                    && plant.stored.is_some()
                    && other.stand_in.get().has_key_of(plant.stand_in.get())
            };
            if plants.iter().any(serves) {
                return Added::Shared;
            }
            if plants.try_reserve(1).is_err() {
                return Added::NoMemory;
            }
            plants.push(plant);
            self.count.store(plants.len(), Ordering::Release);
            Added::New
        })
    }

    /// A session is being removed, and its stand-in has served. Returns whether it was in our cache but for that, or
    /// was taken from others. (What the program's get callback returned may be another object with the same key.)
    #[inline]
    pub(super) fn consume(&self, session: SessionRef<'_>) -> bool {
        !self.is_empty() && self.consume_one(session)
    }

    fn consume_one(&self, session: SessionRef<'_>) -> bool {
        let is_it = |plant: &Plant| match &plant.stored {
            Some(stored) => stored.get() == session || plant.stand_in.get().has_key_of(session),
            None => plant.is_taken && plant.stand_in.get().has_key_of(session),
        };
        self.take(is_it).is_some()
    }

    /// Takes a stray of this thread.
    pub(super) fn take_stray(&self) -> Option<Plant> {
        let here = this_thread();
        self.take(|plant| plant.thread == here)
    }

    /// Takes one from what a stand-in stands for.
    pub(super) fn take_stored(&self) -> Option<Session> {
        self.plants.lock().iter_mut().find_map(|plant| plant.stored.take())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    pub(super) fn take(&self, wanted: impl Fn(&Plant) -> bool) -> Option<Plant> {
        if self.is_empty() {
            return None;
        }
        let mut plants = self.plants.lock();
        let at = plants.iter().position(wanted)?;
        let plant = plants.swap_remove(at);
        self.count.store(plants.len(), Ordering::Release);
        Some(plant)
    }
}
