//! Stand-ins that lie for a moment in libssl's own internal cache, because libssl is about to look
//! there and nowhere else.
//!
//! - 0-RTT: having looked a ticket up, libssl demands that its own removal finds a session with its
//!   key, or it skips the ticket. The stored session has left our cache by then, so that of racing
//!   replays one gets it.
//! - A session id generator: libssl looks for a session with the new id, to refuse it.
//!
//! Stand-ins, and not the sessions themselves: what lies in libssl's cache is linked into its list,
//! and the program may use its sessions in other contexts and threads meanwhile.
//!
//! libssl looks right after our callback returns, on the same thread. What it had no use for is a
//! stray: the thread that planted it reaps it when it is next here, or the context's end does.

use std::ffi::c_int;
use std::sync::Arc;

use super::planted::{Added, Claim, Plant};
use super::state::Context;
use crate::cache::Key;
use crate::libssl::{Session, SessionRef};

impl Context {
    /// Claims a ticket for a connection that refuses replays: see [`Claim`].
    pub(crate) fn claim(&self, key: Key) -> Option<Claim<'_>> {
        self.planted.claim(key)
    }

    /// The program's get callback has found a session, which libssl will demand of its own cache. Its being stored
    /// there counts: it is taken out, so that of racing replays one gets it.
    pub(crate) fn plant_if_stored(&self, found: SessionRef<'_>) {
        if let Some(stored) = self.take_stored(found) {
            self.plant(&stored);
        }
    }

    /// Lets libssl's removal find a session that was taken out of our cache.
    pub(crate) fn plant(&self, stored: &Session) {
        let session = stored.get();
        if !self.put(session.version(), session.id(), Some(stored.clone()), false) {
            // libssl will skip the ticket.
            self.put_back_or_leave(stored.clone());
        }
    }

    /// Lets libssl's removal find a session that was taken from others, and goes nowhere if libssl has no use for it.
    pub(crate) fn plant_taken(&self, version: c_int, id: &[u8]) {
        self.put(version, id, None, true);
    }

    /// Lets libssl find the conflict with a session of this id.
    pub(crate) fn plant_conflict(&self, version: c_int, id: &[u8]) {
        self.put(version, id, None, false);
    }

    fn put(&self, version: c_int, id: &[u8], stored: Option<Session>, is_taken: bool) -> bool {
        let Some(stand_in) = Session::with_key(self.libssl, version, id) else { return false };
        let added = self.planted.add(stand_in.clone(), stored, is_taken);
        if added == Added::New {
            self.add_real(&stand_in);
        }
        added != Added::NoMemory
    }

    /// Everything has been flushed past us, and so have the stand-ins, or are about to be: what they stand for is
    /// stored again, to be flushed too.
    pub(crate) fn put_all_back(&self) {
        while let Some(stored) = self.planted.take_stored() {
            self.put_back_or_leave(stored);
        }
    }

    /// libssl gives up its own cache with the context. Returns whether this is a stand-in in it; what it stood
    /// for is stored again, and leaves with the others.
    pub(crate) fn take_stand_in(&self, session: SessionRef<'_>) -> bool {
        let plant = self.planted.take(|plant| plant.stand_in.get() == session);
        let is_one = plant.is_some();
        let stored = plant.and_then(|plant| plant.stored);
        stored.into_iter().for_each(|stored| self.put_back_or_leave(stored));
        is_one
    }

    /// Takes back what libssl had no use for, of this thread.
    pub(crate) fn reap(self: &Arc<Self>) {
        if self.planted.is_empty() {
            return;
        }
        // Sessions that cannot go back are called back for, in which the context might end.
        let context = Arc::clone(self);
        while let Some(stray) = context.planted.take_stray() {
            context.take_back(stray);
        }
    }

    /// Takes everything back, at the end of the context.
    pub(crate) fn reap_all(&self) {
        while let Some(stray) = self.planted.take(|_| true) {
            self.take_back(stray);
        }
    }

    fn take_back(&self, stray: Plant) {
        self.remove_real(stray.stand_in.get());
        stray.stored.into_iter().for_each(|stored| self.put_back_or_leave(stored));
    }
}
