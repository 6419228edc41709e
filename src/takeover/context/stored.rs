//! How sessions enter a context's cache, are found, and leave it one by one.

use super::held::Held;
use super::leaving::Why;
use super::state::Context;
use crate::cache::{Expiry, Key, Stored};
use crate::guard::guard;
use crate::libssl::{Session, SessionRef};
use crate::takeover::counts;

impl Held {
    /// Stores a session. Returns whether it was stored or replaced another one (C3).
    ///
    /// Takes one reference. What leaves for it has its remove callback run, with no lock held.
    pub(crate) fn store(&self, session: SessionRef<'_>) -> bool {
        let Some(mut owned) = session.retain() else { return false };
        let key = self.stored_key(session);
        // Before the expiry is read.
        let mut changes = counts::changes();
        let mut expiry = session.expiry();
        let stored = loop {
            if self.is_ending() {
                return false;
            }
            let limit = usize::try_from(self.size()).unwrap_or(0);
            let Some(stored) = self.try_store(key, owned, expiry, limit) else { return false };
            match stored {
                Stored::Added { evicted: None } => break true,
                Stored::Added { evicted: Some(evicted) } => {
                    self.keep();
                    self.leave_evicted(&evicted);
                    break true;
                }
                // Dropped without a callback, and left resumable for others who hold it (C3).
                Stored::Replaced(former) => {
                    self.keep();
                    drop(former);
                    break true;
                }
                Stored::Present(_) => break false,
                Stored::NoMemory(_) => return false,
                Stored::Full { session: refused, replaced } => {
                    self.keep();
                    owned = refused;
                    let mut left = Vec::new();
                    let more = guard(0, || self.cache.evict(limit, &mut left));
                    // None left and none too many: another thread has made room meanwhile.
                    if left.is_empty() && more > 0 && replaced.is_none() {
                        return false;
                    }
                    drop(replaced);
                    left.iter().for_each(|session| self.events.evict(session.get()));
                    let group = self.begin_group();
                    self.leave(group, &mut left, Why::Other);
                    self.run_callbacks(group);
                    changes = counts::changes();
                    expiry = session.expiry();
                }
            }
        };
        self.follow_change(session, expiry, changes);
        stored
    }

    /// `SSL_CTX_remove_session`. Returns whether something was stored under the session's key (C5), and what was: the caller
    /// drops it last.
    pub(crate) fn remove(&self, session: SessionRef<'_>) -> (bool, Option<Session>) {
        let id = session.id();
        if id.is_empty() {
            return (false, None);
        }
        if self.is_removing(session) {
            self.mark_not_resumable(session);
            return (false, None);
        }
        let planted = self.planted.consume(session);
        let key = self.key_of(session.version(), id);
        let stored = self.note_taken(guard(None, || self.cache.take(key)));
        self.forget_shared(session, stored.is_some());
        self.mark_not_resumable(session);
        if self.remove.get().is_some() {
            self.keep();
            self.call_remove_borrowed(session);
        }
        (planted || stored.is_some(), stored)
    }
}

impl Context {
    /// The key that a session is stored under, or would be. (One that has lost its id while it was stored is found by what
    /// it is: [`Context::re_key`].)
    fn stored_key(&self, session: SessionRef<'_>) -> Key {
        let id = session.id();
        let by_object = id.is_empty().then(|| self.key_of_object(session));
        let stored = by_object.filter(|&key| self.cache.contains(key));
        stored.unwrap_or_else(|| self.key_of(session.version(), id))
    }

    fn try_store(
        &self,
        key: Key,
        session: Session,
        expiry: Expiry,
        limit: usize,
    ) -> Option<Stored<Session>> {
        if !counts::make_countable(session.get()) {
            return Some(Stored::NoMemory(session));
        }
        let address = session.get().address();
        let stored = guard(None, || Some(self.cache.store(key, session, expiry, limit)));
        if let Some(Stored::Added { .. } | Stored::Replaced(_)) = stored {
            self.events.store(address, expiry);
        }
        self.events.change(&self.cache);
        stored
    }

    /// Stores the session's expiry again if a setter has changed it since [`counts::changes`] returned `changes` and `expiry`
    /// was read: that setter may not have found the session here (C6).
    #[inline]
    fn follow_change(&self, session: SessionRef<'_>, expiry: Expiry, changes: usize) {
        if counts::changes() != changes && session.expiry() != expiry {
            self.re_expire(session);
        }
    }

    /// Puts a session back that was taken out too early, whatever the size.
    ///
    /// Not in place of one that was stored under its key meanwhile, be it this very one: then it has left
    /// before, and is returned. So it is without memory.
    pub(super) fn put_back(&self, session: Session) -> Option<Session> {
        // One that the program's get callback has returned may not have been stored before.
        if !counts::make_countable(session.get()) {
            return Some(session);
        }
        let held = session.clone();
        // It must not take the place of another one without an id.
        let key = match held.get().id() {
            [] => self.key_of_object(held.get()),
            _ => self.key(held.get()),
        };
        let changes = counts::changes();
        let expiry = held.get().expiry();
        let refused = guard(None, || self.cache.put_back(key, session, expiry));
        self.follow_change(held.get(), expiry, changes);
        refused
    }

    /// The same, for one that nobody flushed: it leaves as if evicted.
    pub(super) fn put_back_or_leave(&self, session: Session) {
        if let Some(refused) = self.put_back(session) {
            self.leave_evicted(&refused);
        }
    }

    /// The session's time or timeout has been set: if it is stored here, it is flushed and evicted by its new expiry. Returns
    /// whether it is.
    pub(crate) fn re_expire(&self, session: SessionRef<'_>) -> bool {
        let id = session.id();
        let by_object = id.is_empty() && self.re_expire_by_object(session);
        self.re_expire_under(self.key_of(session.version(), id), session) || by_object
    }

    /// The same for one that has no id.
    #[cold]
    fn re_expire_by_object(&self, session: SessionRef<'_>) -> bool {
        self.re_expire_under(self.key_of_object(session), session)
    }

    /// The same, if it is stored under this key.
    #[inline(always)]
    fn re_expire_under(&self, key: Key, session: SessionRef<'_>) -> bool {
        let owned = session.borrowed();
        // Should two threads set times at once, the one that reads last also stores last.
        loop {
            let changes = counts::changes();
            let expiry = session.expiry();
            if !guard(false, || self.cache.re_expire(key, &owned, expiry)) {
                return false;
            }
            self.events.change(&self.cache);
            self.sharing().into_iter().for_each(|sharing| sharing.re_expire(session));
            if counts::changes() == changes || session.expiry() == expiry {
                return true;
            }
        }
    }

    /// The session's version or id, which was this before, has been set: if it is stored here, it is found by its new key. A
    /// session that was stored under that leaves without a callback, as when one is stored in its place.
    ///
    /// A session that loses its id is found by what it is, or all such sessions would have one key.
    pub(crate) fn re_key(&self, session: SessionRef<'_>, version: i32, id: &[u8]) {
        if let Some(sharing) = self.sharing() {
            sharing.forget_key(version, id, session.expiry().seconds(), false);
        }
        let owned = session.borrowed();
        let by_object = self.key_of_object(session);
        let new = if session.id().is_empty() { by_object } else { self.key(session) };
        for old in [self.key_of(version, id), by_object] {
            drop(guard(None, || self.cache.re_key(old, new, &owned)));
        }
    }

    /// Removes what is stored under a key that libssl's own removal has just looked for in vain, and
    /// tells the program as libssl would.
    pub(crate) fn remove_after_libssl(&self, session: SessionRef<'_>) {
        self.planted.consume(session);
        let stored = self.take_stored(session);
        self.forget_shared(session, stored.is_some());
        self.call_remove_borrowed(session);
        drop(stored);
    }

    /// Removes the session that is stored under this id, as somebody else has removed it.
    pub(crate) fn remove_by_id(&self, version: i32, id: &[u8]) {
        let key = self.key_of(version, id);
        if let Some(stored) = self.note_taken(guard(None, || self.cache.take(key))) {
            self.mark_not_resumable(stored.get());
            self.call_remove_borrowed(stored.get());
        }
    }

    /// Nobody else is to have a session that was removed.
    fn forget_shared(&self, session: SessionRef<'_>, stored: bool) {
        if let Some(sharing) = self.sharing() {
            sharing.forget(session, stored);
        }
    }

    /// Takes out what is stored under the session's key.
    pub(crate) fn take_stored(&self, session: SessionRef<'_>) -> Option<Session> {
        self.note_taken(guard(None, || self.cache.take(self.key(session))))
    }

    /// A session from the cache for this id, if it is one that still has it.
    pub(crate) fn lookup(&self, version: i32, id: &[u8]) -> Option<Session> {
        // libssl takes the id from a session that it finds not resumable while another connection
        // resumes it; such a one must not be offered again.
        let found = guard(None, || self.cache.get(self.key_of(version, id)));
        match &found {
            Some(session) => self.events.hit(session.get()),
            None => self.events.miss(),
        }
        found.filter(|session| session.get().id() == id)
    }

    /// Takes out the session stored under this id, if it is one that still has it.
    pub(crate) fn take(&self, version: i32, id: &[u8]) -> Option<Session> {
        let found = self.lookup(version, id)?;
        let key = self.key_of(version, id);
        self.note_taken(guard(None, || self.cache.take_exactly(key, &found)))
    }

    fn note_taken(&self, taken: Option<Session>) -> Option<Session> {
        if taken.is_some() {
            self.events.change(&self.cache);
        }
        taken
    }

    /// The session stored under this id, which nobody has looked up by that.
    pub(crate) fn stored(&self, version: i32, id: &[u8]) -> Option<Session> {
        guard(None, || self.cache.peek(self.key_of(version, id)))
    }

    /// Returns whether a session of this version and id is stored.
    pub(crate) fn has(&self, version: i32, id: &[u8]) -> bool {
        guard(false, || self.cache.contains(self.key_of(version, id)))
    }
}
