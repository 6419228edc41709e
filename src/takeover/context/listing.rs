//! The result of `SSL_CTX_sessions`: a table of OpenSSL's own kind, holding the sessions stored at
//! that moment (C14).

use std::ffi::{c_int, c_ulong, c_void};

use crate::cache::Cache;
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, MAX_LIBSSL, Session, SessionRef, by_index, of_each_libssl};
use crate::sync::Mutex;

/// The last table of a context.
#[derive(Debug, Default)]
pub(crate) struct Listings(Mutex<Option<Listing>>);

/// A table, and the references that keep its sessions alive.
#[derive(Debug)]
struct Listing {
    table: TableRef<'static>,
    api: &'static Api,
    sessions: Vec<Session>,
    /// The cache's changes before these sessions were looked up.
    changes: u64,
}

// SAFETY: the table is only read by the program and freed by us.
unsafe impl Send for Listing {}

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: made by OPENSSL_LH_new; freeing it leaves the sessions alone.
        unsafe { (self.api.OPENSSL_LH_free)(self.table) };
    }
}

impl Listings {
    /// Lists the sessions of a cache. Valid until the next call for it after a session has come or gone, or
    /// the context's end: threads that only look get one table, as from libssl. NULL without memory.
    pub(super) fn list(
        &self,
        libssl: &'static Libssl,
        api: &'static Api,
        cache: &Cache<Session>,
    ) -> *mut LHASH {
        let changes = cache.changes();
        let since = |there: &Listing| there.changes == changes;
        if let Some(there) = self.0.lock().as_ref().filter(|there| since(there)) {
            return there.table.as_ptr();
        }
        let sessions = snapshot(cache);
        let made = sessions.and_then(|sessions| Listing::new(libssl, api, sessions, changes));
        let Some(listing) = made else { return std::ptr::null_mut() };
        let table = listing.table;
        // Not made under the lock, as libcrypto may use the program's allocator.
        let mut place = self.0.lock();
        let (table, unneeded) = match &*place {
            // Another thread came first, and may be reading.
            Some(there) if since(there) => (there.table, Some(listing)),
            _ => (table, place.replace(listing)),
        };
        drop(place);
        drop(unneeded);
        table.as_ptr()
    }

    /// Frees the table at the end of the context.
    pub(super) fn end(&self) {
        let listing = self.0.lock().take();
        drop(listing);
    }
}

/// The sessions of a cache, by their addresses. The cache's own order would tell something about its secrets
/// (`cache::key`). `None`: out of memory.
pub(crate) fn snapshot(cache: &Cache<Session>) -> Option<Vec<Session>> {
    guard(None, || {
        let mut sessions = cache.snapshot()?;
        sessions.sort_unstable_by_key(|session| session.get().address());
        Some(sessions)
    })
}

impl Listing {
    fn new(
        libssl: &'static Libssl,
        api: &'static Api,
        sessions: Vec<Session>,
        changes: u64,
    ) -> Option<Self> {
        let table = (api.OPENSSL_LH_new)(HASH[libssl.index], COMPARE[libssl.index])?;
        if let Some(set_thunks) = api.OPENSSL_LH_set_thunks {
            // Without them the typed doall of 3.3 and later calls through NULL.
            set_thunks(table, hash_thunk, compare_thunk, doall_thunk, doall_arg_thunk);
        }
        let listing = Self { table, api, sessions, changes };
        for session in &listing.sessions {
            let element = session.get().any().as_ptr();
            // SAFETY: the session lives as long as the table, whose functions take sessions.
            unsafe { (api.OPENSSL_LH_insert)(table, element.cast()) };
            if (api.OPENSSL_LH_error)(table) != 0 {
                // No table is better than one that does not hold all.
                return None;
            }
        }
        Some(listing)
    }
}

// libcrypto passes a session and nothing else.
static HASH: [LhHash; MAX_LIBSSL] = of_each_libssl!(hash);
static COMPARE: [LhCompare; MAX_LIBSSL] = of_each_libssl!(compare);

fn session<const INDEX: usize>(session: Option<AnySession<'_>>) -> Option<SessionRef<'_>> {
    SessionRef::of(by_index(INDEX)?, session?)
}

/// The program may retrieve by a session of its own, so version and id count, as in libssl. Sessions
/// without an id are told apart by what they are: several can be stored (C18), and one must not take
/// another's place in the table.
extern "C-unwind" fn hash<const INDEX: usize>(data: Option<AnySession<'_>>) -> c_ulong {
    session::<INDEX>(data).map_or(0, |session| {
        session.id().iter().fold(session.version() as c_ulong, |hash, &byte| {
            hash.wrapping_mul(31).wrapping_add(c_ulong::from(byte))
        })
    })
}

extern "C-unwind" fn compare<const INDEX: usize>(
    one: Option<AnySession<'_>>,
    other: Option<AnySession<'_>>,
) -> c_int {
    match (session::<INDEX>(one), session::<INDEX>(other)) {
        (Some(one), Some(other)) => {
            let same = one == other || (!one.id().is_empty() && one.has_key_of(other));
            c_int::from(!same)
        }
        _ => 1,
    }
}

extern "C-unwind" fn hash_thunk(data: Option<AnySession<'_>>, hash: LhHash) -> c_ulong {
    hash(data)
}

extern "C-unwind" fn compare_thunk(
    one: Option<AnySession<'_>>,
    other: Option<AnySession<'_>>,
    compare: LhCompare,
) -> c_int {
    compare(one, other)
}

extern "C-unwind" fn doall_thunk(data: AnySession<'_>, call: LhDoall) {
    call(data);
}

extern "C-unwind" fn doall_arg_thunk(
    data: AnySession<'_>,
    argument: *mut c_void,
    call: LhDoallArg,
) {
    call(data, argument);
}
