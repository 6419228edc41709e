//! One managed context: what the program believes it set, its cache, and how sessions enter and
//! leave.

use std::ffi::c_long;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::callback::Callback;
use super::ending::Sentinel;
use super::leaving::{Group, Leaving, Runner, Why};
use super::listing::Listing;
use super::measured::Flushes;
use super::planted::{self, Planted};
use super::running::{self, Call};
use super::{ending, flush, moved, past, probes, stored};
use crate::cache::{Cache, Cutoff, Eviction, Expiry, Key, KeyMaker, Stored};
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, Session, SessionRef, inside};
use crate::published::Published;
use crate::stack::{has_still_to_return, this_thread};
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
    pub(super) published: Option<Published>,
    keys: KeyMaker,

    // What the program believes it set.
    pub(super) mode: AtomicU32,
    size: AtomicI64,
    pub(super) new: Callback<NewCallback>,
    pub(super) get: Callback<GetCallback>,
    pub(super) remove: Callback<RemoveCallback>,
    generate: Callback<GenerateCallback>,
    last_generate: Callback<GenerateCallback>,

    // What it may ask, beside what the cache counts itself.
    external_hits: AtomicU64,
    external_misses: AtomicU64,
    sessions_since_flush: AtomicU32,

    leaving: Leaving,
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
            cache: Cache::new(eviction, published.as_ref().map(Published::observer)),
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

    // --- The program's view ------------------------------------------------------------------

    /// The mode that the program set.
    pub(crate) fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }

    /// Whether the program's mode lacks this flag.
    pub(super) fn lacks(&self, flag: u32) -> bool {
        self.mode() & flag == 0
    }

    /// Sets the program's mode, gives libssl the one that leaves the cache to us, and returns the
    /// program's previous one.
    pub(crate) fn set_mode(&self, mode: u32) -> u32 {
        self.set_real_mode(mode);
        let former = self.mode.swap(mode, Ordering::Relaxed);
        self.publish_view();
        former
    }

    pub(super) fn set_real_mode(&self, mode: u32) {
        let real = past::real_mode(mode);
        self.real_ctrl(SSL_CTRL_SET_SESS_CACHE_MODE, c_long::from(real as i32));
    }

    /// The size that the program set; 0 is unlimited.
    pub(crate) fn size(&self) -> c_long {
        self.size.load(Ordering::Relaxed) as c_long
    }

    /// Sets the size and returns the previous one; a negative one is refused with 0 (C1).
    pub(crate) fn set_size(&self, size: c_long) -> c_long {
        if size < 0 {
            return 0;
        }
        self.take_in();
        self.note_size(size)
    }

    pub(super) fn note_size(&self, size: c_long) -> c_long {
        if let Some(published) = &self.published {
            published.set_limit(size);
        }
        self.size.swap(size, Ordering::Relaxed) as c_long
    }

    /// Sessions stored.
    pub(crate) fn sessions(&self) -> c_long {
        saturate(self.cache.len() as u64)
    }

    /// Sessions that the program's get callback provided.
    pub(crate) fn callback_hits(&self) -> c_long {
        saturate(self.external_hits.load(Ordering::Relaxed))
    }

    pub(super) fn note_external_hit(&self) {
        self.external_hits.fetch_add(1, Ordering::Relaxed);
        if let Some(published) = &self.published {
            published.note_external_hit();
        }
    }

    /// The program's get callback found nothing, and nobody else was asked: with `NO_INTERNAL_LOOKUP`.
    pub(super) fn note_external_miss(&self) {
        self.external_misses.fetch_add(1, Ordering::Relaxed);
        if let Some(published) = &self.published {
            published.note_external_miss();
        }
    }

    /// Lookups that found nothing, here or, if they did not come here, with the program.
    pub(crate) fn all_misses(&self) -> u64 {
        self.cache.statistics().misses + self.external_misses.load(Ordering::Relaxed)
    }

    /// Lookups that found nothing here, and those that libssl itself counts (a client's). What a get callback
    /// does not find is no miss to libssl (C12).
    pub(crate) fn misses(&self) -> c_long {
        let real = self.real_ctrl(SSL_CTRL_SESS_MISSES, 0);
        saturate(self.cache.statistics().misses).saturating_add(real)
    }

    /// Sessions that left for lack of room.
    pub(crate) fn cache_full(&self) -> c_long {
        saturate(self.cache.statistics().evicted)
    }

    // What was set past us before is overwritten, and does not come back.

    pub(crate) fn set_new(&self, callback: Option<NewCallback>) {
        self.take_in();
        self.new.set(callback);
    }

    pub(crate) fn new_callback(&self) -> Option<NewCallback> {
        self.new.get()
    }

    pub(crate) fn set_get(&self, callback: Option<GetCallback>) {
        self.take_in();
        self.get.set(callback);
        self.publish_view();
    }

    pub(crate) fn get_callback(&self) -> Option<GetCallback> {
        self.get.get()
    }

    pub(crate) fn set_remove(&self, callback: Option<RemoveCallback>) {
        self.take_in();
        self.remove.set(callback);
    }

    pub(crate) fn remove_callback(&self) -> Option<RemoveCallback> {
        self.remove.get()
    }

    pub(crate) fn set_generate(&self, callback: Option<GenerateCallback>) {
        self.generate.set(callback);
        if callback.is_some() {
            self.last_generate.set(callback);
        }
    }

    /// What a connection has inherited whose beginning was not seen. It has one, and the context may have none
    /// any more.
    pub(super) fn inherited_generator(&self) -> Option<GenerateCallback> {
        self.generate.get().or_else(|| self.last_generate.get())
    }

    pub(super) fn generate_callback(&self) -> Option<GenerateCallback> {
        self.generate.get()
    }

    pub(super) fn real_ctrl(&self, command: i32, value: c_long) -> c_long {
        // SAFETY: the context is alive: whoever called us uses it.
        inside(|| unsafe {
            (self.api.SSL_CTX_ctrl)(self.ctx, command, value, std::ptr::null_mut())
        })
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

    /// The same, for one that nobody flushed: it leaves as if for lack of room.
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

    /// Lets one session go that left for lack of room. It stays resumable for others (C19).
    fn leave_evicted(&self, session: Session) {
        probes::evict(self.ctx, session.as_ptr());
        self.call_remove(&session);
    }

    /// Lets one session go that was flushed.
    pub(super) fn leave_flushed(&self, session: Session) {
        self.mark_leaving(*session, Why::Flushed);
        self.call_remove(&session);
    }

    /// Lets sessions go that leave in some number: with [`Managed::run_callbacks`] where there is a
    /// remove callback to run, else, and where there is no memory to let them wait, at once.
    pub(super) fn leave(&self, group: Group, sessions: &mut Vec<Session>, why: Why) {
        if self.remove.get().is_some() && self.leaving.add(group, sessions, why) {
            return;
        }
        let was_ending = self.is_ending();
        let mut unfinished = Unfinished { managed: self, group, rest: sessions.drain(..), why };
        for session in unfinished.rest.by_ref() {
            self.mark_leaving(*session, why);
            self.call_remove(&session);
            // Before the question, as ex_data functions of the program may run.
            drop(session);
            if self.is_ending() != was_ending {
                // One of these freed the context, and nothing may be called on it any more.
                break;
            }
        }
    }

    /// Lets a session wait that libssl removes, with a lock held, because the context is going.
    pub(super) fn leave_later(&self, session: SessionRef) {
        let mut sessions = session.retain().into_iter().collect();
        self.leave(self.begin_group(), &mut sessions, Why::Other);
    }

    /// A group of sessions that leave together.
    pub(super) fn begin_group(&self) -> Group {
        self.leaving.begin()
    }

    /// Marks each session of a group if it was flushed, runs the program's remove callback for it
    /// with no lock held, and drops the cache's reference.
    #[inline(never)] // its call is looked for on the stack
    pub(super) fn run_callbacks(&self, group: Group) {
        let here = 0u8;
        let runner = Runner::Call { thread: this_thread(), variable: (&raw const here).addr() };
        if !self.leaving.set_runner(group, runner) {
            return;
        }
        let _abandoned = Abandoned { managed: self, group };
        while let Some((session, why)) = self.leaving.next_of(group) {
            self.mark_leaving(*session, why);
            self.call_remove(&session);
        }
    }

    /// Goes on with what callbacks that never returned have left waiting.
    pub(super) fn run_abandoned(&self) {
        let is_there =
            |variable| has_still_to_return(Self::run_callbacks as *mut std::ffi::c_void, variable);
        while let Some(group) = self.leaving.abandoned(is_there) {
            self.run_callbacks(group);
        }
    }

    fn mark_leaving(&self, session: SessionRef, why: Why) {
        if why == Why::Flushed {
            probes::expire(self.ctx, session.as_ptr());
            self.mark_not_resumable(session);
        }
    }

    /// Whether the program's remove callback runs for this session on this thread. It is not called again
    /// then, whoever removes the session in it (C5).
    #[inline(always)] // see `running::count`
    pub(super) fn is_removing(&self, session: SessionRef) -> bool {
        self.removing(session) > 0
    }

    #[inline(always)] // as above
    fn removing(&self, session: SessionRef) -> usize {
        running::count(|| Call::removal(self, session))
    }

    /// For one that the program or libssl holds.
    fn call_remove_borrowed(&self, session: SessionRef) {
        if self.remove.get().is_some() {
            session.retain().iter().for_each(|held| self.call_remove(held));
        }
    }

    /// The caller's own reference: a callback may leave by longjmp, and `running` then still knows the session.
    fn call_remove(&self, session: &Session) {
        self.call_remove_by(self.remove.get(), session);
    }

    /// Our remove callback was called from within the program's: by libssl, for which C5 holds; or by one that
    /// has taken the place of ours past us, which then stands for what that has replaced.
    pub(super) fn call_replaced_remove(&self, session: SessionRef) {
        if self.removing(session) == 1 {
            session
                .retain()
                .iter()
                .for_each(|held| self.call_remove_by(self.remove.replaced(), held));
        }
    }

    fn call_remove_by(&self, remove: Option<RemoveCallback>, session: &Session) {
        if let Some(remove) = remove {
            // SAFETY: the program's own callback, with a live context and session, no lock held.
            Call::remove(self, session).run(|| unsafe { remove(self.ctx, session.as_ptr()) });
        }
    }

    /// Marks a session not resumable.
    ///
    /// The public ABI has one way: the real removal marks its argument even when it is absent. It
    /// runs through the session's own context, whose lock hardly anyone else takes now that lookups
    /// are ours. (Through a private context there is no contention at all, but making one can fail,
    /// and the gain did not show: see docs/benchmarks.md.)
    fn mark_not_resumable(&self, session: SessionRef) {
        self.remove_real(session);
    }

    /// Adds a session of ours to the real cache.
    pub(super) fn add_real(&self, session: &Session) {
        // SAFETY: context and session are alive; the real cache takes a reference of its own.
        let added =
            inside(|| unsafe { (self.api.SSL_CTX_add_session)(self.ctx, session.as_ptr()) });
        if added != 1 {
            // Out of memory, libssl before 4.0 takes its reference back but leaves the session in its
            // list, and gives up what it has not when it removes it: it gets one of ours.
            std::mem::forget(session.clone());
        }
    }

    /// Removes a session from the real cache, if libssl is not just freeing that.
    pub(super) fn remove_real(&self, session: SessionRef) {
        if let Some(ctx) = self.sentinel.context_for_removing(self) {
            // SAFETY: context and session are alive; our trampoline is silent meanwhile.
            inside(|| unsafe { (self.api.SSL_CTX_remove_session)(ctx, session.as_ptr()) });
        }
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

    /// Runs what callbacks are left of any group: of flushes that this end interrupted, and of those
    /// that a callback never returned to.
    pub(super) fn finish_leaving(&self) {
        while let Some(group) = self.leaving.any() {
            self.run_callbacks(group);
        }
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

/// Abandons a group when its callbacks are left by an exception or the end of the thread. (After the last of
/// them there is no such group.)
struct Abandoned<'a> {
    managed: &'a Managed,
    group: Group,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.managed.leaving.set_runner(self.group, Runner::Abandoned);
    }
}

/// Sessions that leave at once, whose turn comes later should that be left in the same way.
struct Unfinished<'a> {
    managed: &'a Managed,
    group: Group,
    rest: std::vec::Drain<'a, Session>,
    why: Why,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let Self { managed, group, why, .. } = *self;
        let mut rest: Vec<_> = self.rest.by_ref().collect();
        if !rest.is_empty() && !managed.is_ending() {
            managed.leaving.add(group, &mut rest, why);
            managed.leaving.set_runner(group, Runner::Abandoned);
        }
    }
}

fn saturate(count: u64) -> c_long {
    c_long::try_from(count).unwrap_or(c_long::MAX)
}
