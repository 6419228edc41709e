//! The state of one context.

use std::ffi::c_long;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::callback::Callback;
use super::events::Events;
use super::leaving::Leaving;
use super::listing::Listings;
use super::planted::Planted;
use super::sentinel::Sentinel;
use crate::cache::{Cache, Eviction, Key, KeyMaker};
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, Session, SessionRef};
use crate::options;
use crate::sharing::Sharing;

/// The callbacks that libssl has for a context, instead of the program's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trampolines {
    pub(crate) new: NewCallback,
    pub(crate) get: GetCallback,
    pub(crate) remove: RemoveCallback,
}

/// A context that is taken over.
#[derive(Debug)]
pub(crate) struct Context {
    ctx: NonNull<SSL_CTX>,
    /// Its place among all that this process has had.
    pub(crate) number: u64,
    /// The libssl that it belongs to.
    pub(crate) libssl: &'static Libssl,
    pub(crate) api: &'static Api,
    pub(super) trampolines: Trampolines,
    pub(crate) cache: Cache<Session>,
    keys: KeyMaker,
    pub(crate) events: Events,
    sharing: Option<Box<Sharing>>,

    // Set by the program, as it believes.
    pub(super) mode: AtomicU32,
    pub(super) size: AtomicI64,
    pub(crate) new: Callback<NewCallback>,
    pub(crate) get: Callback<GetCallback>,
    pub(crate) remove: Callback<RemoveCallback>,
    pub(crate) generate: Callback<GenerateCallback>,
    pub(super) last_generate: Callback<GenerateCallback>,
    pub(crate) servername: Callback<ServernameCallback>,

    // Counts that it may ask for, beside those of the cache.
    pub(super) external_hits: AtomicU64,
    pub(super) external_misses: AtomicU64,
    pub(super) sessions_since_flush: AtomicU32,

    pub(super) leaving: Leaving,
    pub(super) planted: Planted,
    pub(crate) sentinel: Sentinel,
    pub(super) listings: Listings,
    ending: AtomicBool,
    storing: AtomicBool,
}

// SAFETY: the context is only handed to libssl, whose contexts may be used from any thread; all else is.
unsafe impl Send for Context {}
// SAFETY: as above; all else is atomic or locked.
unsafe impl Sync for Context {}

impl Context {
    /// The state of a context that has just been made, with the mode and size that libssl gave it. `None`: out of
    /// memory.
    pub(crate) fn new(
        libssl: &'static Libssl,
        api: &'static Api,
        trampolines: Trampolines,
        library: *mut OSSL_LIB_CTX,
        ctx: CtxRef<'_>,
        number: u64,
    ) -> Option<Self> {
        let keys = KeyMaker::new()?;
        let eviction = match options::get().least_recently_used {
            true => Eviction::LeastRecentlyUsed,
            false => Eviction::EarliestExpiry,
        };
        let size = api.ctrl(ctx, SSL_CTRL_GET_SESS_CACHE_SIZE, 0);
        let events = Events::new(ctx);
        events.limit(size);
        Some(Self {
            ctx: ctx.as_non_null(),
            number,
            libssl,
            api,
            trampolines,
            cache: Cache::new(eviction, events.observer()),
            keys,
            events,
            sharing: Sharing::begin(libssl, ctx, library),
            mode: AtomicU32::new(api.ctrl(ctx, SSL_CTRL_GET_SESS_CACHE_MODE, 0) as u32),
            size: AtomicI64::new(size),
            new: Callback::default(),
            get: Callback::default(),
            remove: Callback::default(),
            generate: Callback::default(),
            last_generate: Callback::default(),
            servername: Callback::default(),
            external_hits: AtomicU64::new(0),
            external_misses: AtomicU64::new(0),
            sessions_since_flush: AtomicU32::new(0),
            leaving: Leaving::default(),
            planted: Planted::default(),
            sentinel: Sentinel::default(),
            listings: Listings::default(),
            ending: AtomicBool::new(false),
            storing: AtomicBool::new(false),
        })
    }

    /// libssl's context: alive, as whoever finds this state is about to use it, and its end takes the state away.
    pub(crate) fn ctx(&self) -> CtxRef<'_> {
        // SAFETY: as said.
        unsafe { CtxRef::alive(self.ctx) }
    }

    /// The address of libssl's context, which may be gone.
    pub(crate) fn address(&self) -> usize {
        self.ctx.addr().get()
    }

    pub(crate) fn key(&self, session: SessionRef<'_>) -> Key {
        self.keys.key(session.version(), session.id())
    }

    /// A key that no other session has, whatever its id. (No protocol has this version.)
    pub(super) fn key_of_object(&self, session: SessionRef<'_>) -> Key {
        self.keys.key(i32::MIN, &session.address().to_ne_bytes())
    }

    pub(crate) fn key_of(&self, version: i32, id: &[u8]) -> Key {
        self.keys.key(version, id)
    }

    /// Lists its sessions: [`Listings::list`].
    pub(crate) fn list(&self) -> *mut LHASH {
        self.listings.list(self.libssl, self.api, &self.cache)
    }

    /// None if the context does not share its sessions.
    pub(crate) fn sharing(&self) -> Option<&Sharing> {
        self.sharing.as_deref()
    }

    /// Notes whether it stores sessions: then its end must not go unnoticed.
    pub(crate) fn set_storing(&self, storing: bool) {
        if self.is_storing() != storing {
            self.storing.store(storing, Ordering::Release);
        }
    }

    pub(crate) fn is_storing(&self) -> bool {
        self.storing.load(Ordering::Acquire)
    }

    /// Nothing is stored any more.
    pub(crate) fn set_ending(&self) {
        self.ending.store(true, Ordering::Release);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// The size as libssl's functions have it; 0 is unlimited.
    pub(crate) fn size(&self) -> c_long {
        self.size.load(Ordering::Relaxed) as c_long
    }
}
