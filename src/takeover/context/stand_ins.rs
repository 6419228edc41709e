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
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Managed;
use crate::cache::Key;
use crate::guard::guard;
use crate::libssl::{Session, SessionRef};
use crate::stack::this_thread;
use crate::sync::Mutex;

/// What a context has planted in its real cache.
#[derive(Debug, Default)]
pub(super) struct Planted {
    plants: Mutex<Vec<Plant>>,
    /// Their number, for who looks at every handshake and mostly finds none.
    count: AtomicUsize,
    /// Keys of what is being taken out and planted at this moment.
    claims: Mutex<Vec<Key>>,
}

/// The right to take a session out and plant it. Between the two it is nowhere: another connection with the same ticket
/// would be refused, and mark the session, which libssl then refuses to the first one as well.
pub(super) struct Claim<'a> {
    managed: &'a Managed,
    key: Key,
}

/// Claims a ticket for a connection that refuses replays. `None` if another one has just come with it, or out of memory: a
/// full handshake, as a replay gets.
pub(super) fn claim(managed: &Managed, key: Key) -> Option<Claim<'_>> {
    let mut claims = managed.planted().claims.lock();
    if claims.contains(&key) || claims.try_reserve(1).is_err() {
        return None;
    }
    claims.push(key);
    Some(Claim { managed, key })
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claims = self.managed.planted().claims.lock();
        if let Some(at) = claims.iter().position(|&key| key == self.key) {
            claims.swap_remove(at);
        }
    }
}

#[derive(Debug)]
struct Plant {
    thread: usize,
    stand_in: Session,
    /// The session that was taken out of our cache, and goes back if libssl has no use for it.
    stored: Option<Session>,
}

/// The program's get callback has found a session, which libssl will demand of its own cache. Its being stored
/// there counts: it is taken out, so that of racing replays one gets it.
pub(super) fn plant_if_stored(managed: &Arc<Managed>, found: SessionRef) {
    if let Some(stored) = managed.take_stored(found) {
        plant(managed, &stored);
    }
}

/// Lets libssl's removal find a session that was taken out of our cache.
pub(super) fn plant(managed: &Arc<Managed>, stored: &Session) {
    let planted = put(managed, stored.version(), stored.id(), Some(stored.clone()));
    if !planted {
        // libssl will skip the ticket.
        managed.put_back_or_leave(stored.clone());
    }
}

/// Lets libssl find the conflict with a session of this id.
pub(super) fn plant_conflict(managed: &Arc<Managed>, version: c_int, id: &[u8]) {
    put(managed, version, id, None);
}

fn put(managed: &Arc<Managed>, version: c_int, id: &[u8], stored: Option<Session>) -> bool {
    let Some(stand_in) = Session::with_key(managed.libssl(), version, id) else { return false };
    let plant = Plant { thread: this_thread(), stand_in: stand_in.clone(), stored };
    let Planted { plants, count, .. } = managed.planted();
    let planted = guard(None, || {
        let mut plants = plants.lock();
        // One for all connections with a ticket: of those that come at once, the first that removes it is served.
        let serves = |other: &Plant| {
            other.stored.is_some() && plant.stored.is_some() && other.stand_in.has_key_of(*stand_in)
        };
        if plants.iter().any(serves) {
            return Some(false);
        }
        if plants.try_reserve(1).is_err() {
            return None;
        }
        plants.push(plant);
        count.store(plants.len(), Ordering::Release);
        Some(true)
    });
    if planted == Some(true) {
        managed.add_real(&stand_in);
    }
    planted.is_some()
}

/// The session is being removed: whether it was in our cache but for its stand-in. What the program's get
/// callback returned may be another object with the same key.
pub(super) fn consumed(managed: &Managed, session: SessionRef) -> bool {
    let is_it = |plant: &Plant| match &plant.stored {
        Some(stored) => **stored == session || plant.stand_in.has_key_of(session),
        None => false,
    };
    take_first(managed, is_it).is_some()
}

/// Everything has been flushed past us, and so have the stand-ins, or are about to be: what they stand for is
/// stored again, to be flushed too.
pub(super) fn put_all_back(managed: &Arc<Managed>) {
    let put_back = |managed: &Managed| {
        let mut plants = managed.planted().plants.lock();
        plants.iter_mut().find_map(|plant| plant.stored.take())
    };
    while let Some(stored) = put_back(managed) {
        managed.put_back_or_leave(stored);
    }
}

/// libssl gives up its own cache with the context. Whether this is a stand-in in it; what it stood
/// for is stored again, and leaves with the others.
pub(super) fn is_stand_in(managed: &Arc<Managed>, session: SessionRef) -> bool {
    let plant = take_first(managed, |plant| *plant.stand_in == session);
    match plant {
        Some(Plant { stored, .. }) => {
            stored.into_iter().for_each(|stored| managed.put_back_or_leave(stored));
            true
        }
        None => false,
    }
}

fn take_first(managed: &Managed, wanted: impl Fn(&Plant) -> bool) -> Option<Plant> {
    let Planted { plants, count, .. } = managed.planted();
    if count.load(Ordering::Acquire) == 0 {
        return None;
    }
    let mut plants = plants.lock();
    let at = plants.iter().position(wanted)?;
    let plant = plants.swap_remove(at);
    count.store(plants.len(), Ordering::Release);
    Some(plant)
}

/// Takes back what libssl had no use for, of this thread.
pub(super) fn reap(managed: &Arc<Managed>) {
    if managed.planted().count.load(Ordering::Acquire) == 0 {
        return;
    }
    // What cannot go back is called back for, in which the context might end.
    let (managed, here) = (&Arc::clone(managed), this_thread());
    while let Some(stray) = take_first(managed, |plant| plant.thread == here) {
        take_back(managed, stray);
    }
}

/// Takes everything back, at the end of the context.
pub(super) fn reap_all(managed: &Arc<Managed>) {
    while let Some(stray) = take_first(managed, |_| true) {
        take_back(managed, stray);
    }
}

fn take_back(managed: &Arc<Managed>, stray: Plant) {
    managed.remove_real(*stray.stand_in);
    stray.stored.into_iter().for_each(|stored| managed.put_back_or_leave(stored));
}
