//! One managed context: its cache, how sessions enter and are found, and its end.

use std::ffi::c_long;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::callback::Callback;
use super::ending::Sentinel;
use super::leaving::{Leaving, Why};
use super::listing::Listing;
use super::measured::Flushes;
use super::planted::{self, Planted};
use super::{ending, flush, moved, probes, stored};
use crate::cache::{Cache, Cutoff, Eviction, Expiry, Key, KeyMaker, Stored};
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, Session, SessionRef};
use crate::published::Published;
use crate::sync::{Mutex, see_each_other};
use crate::{options, time};

/// Sessions that handshakes make or fetch between two automatic flushes (man
/// SSL_CTX_set_session_cache_mode; contract C8).
const AUTO_FLUSH_EVERY: u32 = 255;

/// A managed context.
#[derive(Debug)]
pub(crate) struct Managed {
    ctx: *mut SSL_CTX,
    /// Its place among all that this process has had.
    number: u64,
    libssl: &'static Libssl,
    api: &'static Api,
    cache: Cache<Session>,
    pub(super) flushes: Flushes,
    pub(super) published: Option<Arc<Published>>,
    keys: KeyMaker,

    // What the program believes it set.
    pub(super) mode: AtomicU32,
    pub(super) size: AtomicI64,
    pub(super) new: Callback<NewCallback>,
    pub(super) get: Callback<GetCallback>,
    pub(super) remove: Callback<RemoveCallback>,
    pub(super) generate: Callback<GenerateCallback>,
    pub(super) last_generate: Callback<GenerateCallback>,

    // What it may ask, beside what the cache counts itself.
    pub(super) external_hits: AtomicU64,
    pub(super) external_misses: AtomicU64,
    sessions_since_flush: AtomicU32,

    pub(super) leaving: Leaving,
    ending: AtomicBool,
    storing: AtomicBool,
    pub(super) sentinel: Sentinel,
    planted: Planted,
    pub(super) listing: Mutex<Option<Listing>>,
}

// SAFETY: the context is only handed to libssl, whose contexts may be used from any thread.
unsafe impl Send for Managed {}
// SAFETY: as above; all else is atomic or locked.
unsafe impl Sync for Managed {}

impl Managed {
    pub(super) fn new(
        libssl: &'static Libssl,
        api: &'static Api,
        ctx: *mut SSL_CTX,
        number: u64,
        mode: u32,
        size: c_long,
    ) -> Self {
        let eviction = match options::get().least_recently_used {
            true => Eviction::LeastRecentlyUsed,
            false => Eviction::EarliestExpiry,
        };
        let published = Published::new();
        if let Some(published) = &published {
            published.set_limit(size);
        }
        Self {
            ctx,
            number,
            libssl,
            api,
            cache: Cache::new(eviction, published.clone().map(|writer| writer as _)),
            published,
            flushes: Flushes::default(),
            keys: KeyMaker::default(),
            mode: AtomicU32::new(mode),
            size: AtomicI64::new(size),
            new: Callback::default(),
            get: Callback::default(),
            remove: Callback::default(),
            generate: Callback::default(),
            last_generate: Callback::default(),
            external_hits: AtomicU64::new(0),
            external_misses: AtomicU64::new(0),
            sessions_since_flush: AtomicU32::new(0),
            leaving: Leaving::default(),
            ending: AtomicBool::new(false),
            storing: AtomicBool::new(false),
            sentinel: Sentinel::default(),
            planted: Planted::default(),
            listing: Mutex::new(None),
        }
    }

    pub(crate) fn ctx(&self) -> *mut SSL_CTX {
        self.ctx
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The libssl that the context belongs to.
    pub(crate) fn libssl(&self) -> &'static Libssl {
        self.libssl
    }

    pub(super) fn api(&self) -> &'static Api {
        self.api
    }

    pub(super) fn planted(&self) -> &Planted {
        &self.planted
    }

    pub(crate) fn cache(&self) -> &Cache<Session> {
        &self.cache
    }

    pub(crate) fn flushes(&self) -> &Flushes {
        &self.flushes
    }

    // --- Sessions ----------------------------------------------------------------------------

    pub(super) fn key(&self, session: SessionRef) -> Key {
        self.keys.key(session.version(), session.id())
    }

    /// A key that no other session has, whatever its id. (No protocol has this version.)
    pub(super) fn key_of_object(&self, session: SessionRef) -> Key {
        self.keys.key(i32::MIN, &(session.as_ptr() as usize).to_ne_bytes())
    }

    pub(super) fn key_of(&self, version: i32, id: &[u8]) -> Key {
        self.keys.key(version, id)
    }

    /// `SSL_CTX_add_session`: whether the session was stored or replaced another one (C3).
    ///
    /// Takes one reference. What leaves for it has its remove callback run, with no lock held.
    pub(crate) fn add(self: &Arc<Self>, session: SessionRef) -> bool {
        let Some(owned) = session.retain() else { return false };
        if !self.lacks(SSL_SESS_CACHE_UPDATE_TIME) {
            session.set_time(time::now());
            // It may be stored elsewhere too.
            moved::re_expire(session);
        }
        self.note_storing();
        // One that has lost its id while it was stored is found by what it is (`moved`).
        let by_object = session.id().is_empty().then(|| self.key_of_object(session));
        let key = by_object.filter(|&key| self.cache.contains(key));
        let key = key.unwrap_or_else(|| self.key(session));
        let (mut owned, mut expiry) = (owned, session.expiry());
        let stored = loop {
            if self.is_ending() {
                return false;
            }
            let limit = usize::try_from(self.size()).unwrap_or(0);
            let Some(stored) = self.store(key, owned, expiry, limit) else { return false };
            match stored {
                Stored::Added { evicted } => {
                    if let Some(evicted) = evicted {
                        self.leave_evicted(evicted);
                    }
                    break true;
                }
                // Dropped without a callback, and left resumable for others who hold it (C3).
                Stored::Replaced(_) => break true,
                Stored::Present(_) => break false,
                Stored::NoMemory(_) => return false,
                Stored::Full { session: refused, replaced } => {
                    owned = refused;
                    let mut left = Vec::new();
                    let more = guard(0, || self.cache.evict(limit, &mut left));
                    // None left and none too many: another thread has made room meanwhile.
                    if left.is_empty() && more > 0 && replaced.is_none() {
                        return false;
                    }
                    drop(replaced);
                    left.iter().for_each(|session| probes::evict(self.ctx, session.as_ptr()));
                    let group = self.begin_group();
                    self.leave(group, &mut left, Why::Other);
                    self.run_callbacks(group);
                    expiry = session.expiry();
                }
            }
        };
        self.moved_meanwhile(session, expiry);
        stored
    }

    fn store(
        &self,
        key: Key,
        session: Session,
        expiry: Expiry,
        limit: usize,
    ) -> Option<Stored<Session>> {
        if !stored::can_count(*session) {
            return Some(Stored::NoMemory(session));
        }
        let address = session.as_ptr();
        let stored = guard(None, || Some(self.cache.store(key, session, expiry, limit)));
        if let Some(Stored::Added { .. } | Stored::Replaced(_)) = stored {
            probes::store(self.ctx, address, expiry.seconds());
        }
        self.publish_change();
        stored
    }

    /// A session has been stored by this expiry. Whoever changed it just before did not find it stored (C6).
    fn moved_meanwhile(&self, session: SessionRef, expiry: Expiry) {
        see_each_other();
        if session.expiry() != expiry {
            moved::re_expire(session);
        }
    }

    /// Puts a session back that was taken out too early, whatever the size.
    ///
    /// Not in place of one that was stored under its key meanwhile, be it this very one: then it has left
    /// before, and is returned. So it is without memory.
    pub(super) fn put_back(&self, session: Session) -> Option<Session> {
        // One that the program's get callback has returned may not have been stored before.
        if !stored::can_count(*session) {
            return Some(session);
        }
        // It must not take the place of another one without an id.
        let key =
            if session.id().is_empty() { self.key_of_object(*session) } else { self.key(*session) };
        let (held, expiry) = (session.clone(), session.expiry());
        let refused = guard(None, || self.cache.put_back(key, session, expiry));
        self.moved_meanwhile(*held, expiry);
        refused
    }

    /// The same, for one that nobody flushed: it leaves as if evicted.
    pub(super) fn put_back_or_leave(&self, session: Session) {
        if let Some(refused) = self.put_back(session) {
            self.leave_evicted(refused);
        }
    }

    /// A handshake has made a session or fetched one from the program. Returns whether an automatic
    /// flush is due, which the caller runs.
    ///
    /// Whether we stored it is not asked: with `NO_INTERNAL_STORE` the program may do that itself from
    /// its callback (stunnel does), and its sessions expire as well.
    pub(super) fn flush_is_due(&self) -> bool {
        let sessions = self.sessions_since_flush.fetch_add(1, Ordering::Relaxed) + 1;
        if sessions < AUTO_FLUSH_EVERY {
            return false;
        }
        self.sessions_since_flush.store(0, Ordering::Relaxed);
        self.lacks(SSL_SESS_CACHE_NO_AUTO_CLEAR)
    }

    /// With `SSLSWEEP_AUTOFLUSH=incremental`: some of what is due leaves, unless the program wants no flush but
    /// its own.
    pub(crate) fn flush_with_store(self: &Arc<Self>) {
        if self.lacks(SSL_SESS_CACHE_NO_AUTO_CLEAR) {
            flush::flush_with_store(self, time::now());
        }
    }

    /// `SSL_CTX_remove_session`: whether something was stored under the session's key (C5).
    pub(crate) fn remove(self: &Arc<Self>, session: SessionRef) -> bool {
        if session.id().is_empty() {
            return false;
        }
        if self.is_removing(session) {
            self.mark_not_resumable(session);
            return false;
        }
        let planted = planted::consumed(self, session);
        let stored = self.take_under(self.key(session));
        self.mark_not_resumable(session);
        self.call_remove_borrowed(session);
        planted || stored.is_some()
    }

    /// Removes what is stored under a key that libssl's own removal has just looked for in vain, and
    /// tells the program as libssl would.
    pub(super) fn removed_by_libssl(self: &Arc<Self>, session: SessionRef) {
        planted::consumed(self, session);
        let stored = self.take_under(self.key(session));
        self.call_remove_borrowed(session);
        drop(stored);
    }

    /// Takes out what is stored under the session's key.
    pub(super) fn take_stored(&self, session: SessionRef) -> Option<Session> {
        self.take_under(self.key(session))
    }

    fn take_under(&self, key: Key) -> Option<Session> {
        let taken = guard(None, || self.cache.take(key));
        if taken.is_some() {
            self.publish_change();
        }
        taken
    }

    /// A session from the cache for this id, if it is one that still has it.
    pub(super) fn lookup(&self, version: i32, id: &[u8]) -> Option<Session> {
        // libssl takes the id from a session that it finds not resumable while another connection
        // resumes it; such a one must not be offered again.
        let found = guard(None, || self.cache.get(self.key_of(version, id)));
        match &found {
            Some(session) => probes::hit(self.ctx, session.as_ptr()),
            None => probes::miss(self.ctx),
        }
        found.filter(|session| session.id() == id)
    }

    /// Takes out the session stored under this id, if it is one that still has it.
    pub(super) fn take(&self, version: i32, id: &[u8]) -> Option<Session> {
        let found = self.lookup(version, id)?;
        let taken = guard(None, || self.cache.take_exactly(self.key_of(version, id), &found));
        if taken.is_some() {
            self.publish_change();
        }
        taken
    }

    /// Whether a session of this version and id is stored.
    pub(crate) fn has(&self, version: i32, id: &[u8]) -> bool {
        guard(false, || self.cache.contains(self.key_of(version, id)))
    }

    /// Whether a session from the get callback will be used by this libssl.
    pub(super) fn accepts(&self, session: SessionRef) -> bool {
        !self.libssl.ignores_not_resumable() || session.is_resumable()
    }

    // --- Beginning and end -------------------------------------------------------------------

    /// Before the first store: the end of a context that stores must not go unnoticed.
    fn note_storing(self: &Arc<Self>) {
        if !self.is_storing() {
            self.storing.store(true, Ordering::Release);
        }
        // Also after a flush past us, which removed it.
        ending::plant_sentinel(self);
    }

    /// Until the next store there is nothing whose end could go unnoticed.
    pub(super) fn stops_storing(&self) {
        self.storing.store(false, Ordering::Release);
    }

    pub(super) fn is_storing(&self) -> bool {
        self.storing.load(Ordering::Acquire)
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// The context is going: nothing is stored any more, and everything leaves with its callback.
    pub(super) fn end(self: &Arc<Self>) {
        planted::reap_all(self);
        self.ending.store(true, Ordering::Release);
        self.publish_end();
        flush::flush(self, Cutoff::All);
        self.finish_leaving();
        let listing = self.listing.lock().take();
        drop(listing);
    }
}
