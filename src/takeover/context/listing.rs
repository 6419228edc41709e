//! What `SSL_CTX_sessions` returns: a table of OpenSSL's own kind, holding the sessions stored at
//! that moment (C14).

use std::ffi::{c_int, c_ulong, c_void};
use std::sync::Arc;

use super::Managed;
use crate::guard::guard;
use crate::libssl::types::*;
use crate::libssl::{Api, MOST, Session, SessionRef, by_index, of_each_libssl};

/// A table, and the references that keep its sessions alive.
#[derive(Debug)]
pub(crate) struct Listing {
    table: *mut LHASH,
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

/// Lists the sessions of a context. Valid until the next call for it after a session has come or gone, or
/// its end: threads that only look get one table, as from libssl. NULL without memory.
pub(crate) fn list(managed: &Arc<Managed>) -> *mut LHASH {
    let changes = managed.cache().changes();
    if let Some(table) = table_since(managed, changes) {
        return table;
    }
    let Some(listing) = make(managed, changes) else { return std::ptr::null_mut() };
    let table = listing.table;
    // Not made under the lock, as libcrypto may use the program's allocator.
    let mut place = managed.listing.lock();
    let (table, unneeded) = match &*place {
        // Another thread came first, and may be reading.
        Some(there) if there.changes == changes => (there.table, Some(listing)),
        _ => (table, place.replace(listing)),
    };
    drop(place);
    drop(unneeded);
    table
}

fn table_since(managed: &Managed, changes: u64) -> Option<*mut LHASH> {
    let place = managed.listing.lock();
    place.as_ref().filter(|there| there.changes == changes).map(|there| there.table)
}

fn make(managed: &Arc<Managed>, changes: u64) -> Option<Listing> {
    let api = managed.api();
    let index = managed.libssl().index;
    let sessions = guard(None, || managed.cache().snapshot())?;
    // SAFETY: the functions live as long as the process and match their types.
    let table = unsafe { (api.OPENSSL_LH_new)(HASH[index], COMPARE[index]) };
    if table.is_null() {
        return None;
    }
    if let Some(set_thunks) = api.OPENSSL_LH_set_thunks {
        // Without them the typed doall of 3.3 and later calls through NULL.
        // SAFETY: the table is ours; the thunks only call what they are given.
        unsafe { set_thunks(table, hash_thunk, compare_thunk, doall_thunk, doall_arg_thunk) };
    }
    let listing = Listing { table, api, sessions, changes };
    for session in &listing.sessions {
        // SAFETY: the table is ours; the sessions live as long as it does.
        unsafe { (api.OPENSSL_LH_insert)(table, session.as_ptr().cast()) };
        // SAFETY: the table is ours.
        let failed = unsafe { (api.OPENSSL_LH_error)(table) } != 0;
        if failed {
            // No table is better than one that does not hold all.
            return None;
        }
    }
    Some(listing)
}

// libcrypto passes a session and nothing else.
static HASH: [LhHash; MOST] = of_each_libssl!(hash);
static COMPARE: [LhCompare; MOST] = of_each_libssl!(compare);

fn session<const INDEX: usize>(session: *const c_void) -> Option<SessionRef> {
    // SAFETY: the table holds and is asked for live sessions of its own libssl.
    unsafe { SessionRef::new(by_index(INDEX)?, session.cast_mut().cast()) }
}

/// The program may retrieve by a session of its own, so version and id count, as in libssl. Sessions
/// without an id are told apart by what they are: several can be stored (C18), and one must not take
/// another's place in the table.
unsafe extern "C-unwind" fn hash<const INDEX: usize>(data: *const c_void) -> c_ulong {
    session::<INDEX>(data).map_or(0, |session| {
        session.id().iter().fold(session.version() as c_ulong, |hash, &byte| {
            hash.wrapping_mul(31).wrapping_add(c_ulong::from(byte))
        })
    })
}

unsafe extern "C-unwind" fn compare<const INDEX: usize>(
    one: *const c_void,
    other: *const c_void,
) -> c_int {
    match (session::<INDEX>(one), session::<INDEX>(other)) {
        (Some(one), Some(other)) => {
            let same = one == other
                || (!one.id().is_empty()
                    && one.id() == other.id()
                    && one.version() == other.version());
            c_int::from(!same)
        }
        _ => 1,
    }
}

unsafe extern "C-unwind" fn hash_thunk(data: *const c_void, hash: LhHash) -> c_ulong {
    // SAFETY: libcrypto passes the table's own function and an element.
    unsafe { hash(data) }
}

unsafe extern "C-unwind" fn compare_thunk(
    one: *const c_void,
    other: *const c_void,
    compare: LhCompare,
) -> c_int {
    // SAFETY: as above.
    unsafe { compare(one, other) }
}

unsafe extern "C-unwind" fn doall_thunk(data: *mut c_void, call: LhDoall) {
    // SAFETY: libcrypto passes the program's function and an element.
    unsafe { call(data) }
}

unsafe extern "C-unwind" fn doall_arg_thunk(
    data: *mut c_void,
    argument: *mut c_void,
    call: LhDoallArg,
) {
    // SAFETY: as above.
    unsafe { call(data, argument) }
}
