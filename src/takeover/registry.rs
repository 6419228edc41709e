//! Which contexts are managed.
//!
//! A table of our own, not ex_data: ex_data belongs to the default `OSSL_LIB_CTX` of the moment,
//! where another index may have the same number. Addresses of contexts are used again, so a context
//! that begins replaces whatever state its address had.

use std::cell::Cell;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Once};

use once_cell::sync::Lazy;
use parking_lot::RwLock;

use super::managed::Managed;
use super::{ending, shared, summary};
use crate::guard::{guard, uncancelled};
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl, inside};

static MANAGED: Lazy<RwLock<HashMap<usize, Arc<Managed>>>> = Lazy::new(RwLock::default);

/// Contexts for which there is room in [`MANAGED`], and which are not in it yet. Changed under its lock.
static ADOPTING: AtomicUsize = AtomicUsize::new(0);

/// Rises whenever [`MANAGED`] changes.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Contexts that have stored something, for setters that reach sessions wherever they are.
/// Replaced as a whole while somebody walks it, so that who does sees each of them once whatever comes and goes.
static STORING: Lazy<RwLock<Arc<Vec<Arc<Managed>>>>> = Lazy::new(RwLock::default);

static BEGUN: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy)]
struct Last {
    ctx: *mut SSL_CTX,
    changes: u64,
    managed: *const Managed,
}

thread_local! {
    /// What this thread found last, which it mostly looks for again. Without a destructor: the C
    /// library needs memory to register one, and ends the process if there is none.
    static LAST: Cell<Last> = const {
        Cell::new(Last { ctx: std::ptr::null_mut(), changes: 0, managed: std::ptr::null() })
    };
}

/// The state of a managed context; `None` for any other, and for NULL.
///
/// The context must be alive, as for any function that is called with it.
pub(crate) fn find(ctx: *mut SSL_CTX) -> Option<Arc<Managed>> {
    find_borrowed(ctx).map(|managed| Arc::clone(&managed))
}

/// The same without counting a reference, which threads that look sessions up at once would do at one
/// place in memory. Only for who runs no callback meanwhile, in which the context might end.
pub(super) fn find_borrowed(ctx: *mut SSL_CTX) -> Option<ManuallyDrop<Arc<Managed>>> {
    let changes = CHANGES.load(Ordering::Acquire);
    let mut last = LAST.get();
    if last.ctx != ctx || last.changes != changes || last.managed.is_null() {
        if changes == 0 {
            return None;
        }
        let managed = guard(None, || MANAGED.read().get(&(ctx as usize)).map(Arc::as_ptr))?;
        last = Last { ctx, changes, managed };
        LAST.set(last);
    }
    // SAFETY: from `Arc::as_ptr`, and never dropped. The table has held the state since it was found: no
    // entry has changed, and if one does now it is not that of a context that is alive.
    Some(ManuallyDrop::new(unsafe { Arc::from_raw(last.managed) }))
}

thread_local! {
    /// The context that this thread has taken over last.
    static ADOPTED: Cell<*mut SSL_CTX> = const { Cell::new(std::ptr::null_mut()) };
}

/// Makes a context by the real function and takes it over.
///
/// Where libssl goes through the PLT, its `SSL_CTX_new` comes back to our `SSL_CTX_new_ex`, which
/// takes the context over first. (Marking the thread as inside libssl would not do: the program's
/// ex_data functions run in there.)
pub(crate) fn make(libssl: &'static Libssl, new: impl FnOnce() -> *mut SSL_CTX) -> *mut SSL_CTX {
    ADOPTED.set(std::ptr::null_mut());
    let ctx = new();
    if ADOPTED.replace(std::ptr::null_mut()) != ctx {
        // Seeds are made, from random bytes.
        uncancelled(|| guard((), || adopt(libssl, ctx)));
    }
    ADOPTED.set(ctx);
    ctx
}

/// Takes over a context that the real libssl has just made. Nothing is done for NULL, nor
/// with a libssl that is left alone.
fn adopt(libssl: &'static Libssl, ctx: *mut SSL_CTX) {
    let Some(api) = libssl.api.as_ref().filter(|_| !ctx.is_null()) else { return };
    if shared::is_left(api, ctx) {
        // Perhaps at the address of one that another process has freed.
        find(ctx).iter().for_each(forget);
        return;
    }
    mend_after_forks();
    // Without memory for its state the context stays as it is.
    {
        let mut table = MANAGED.write();
        let adopting = ADOPTING.load(Ordering::Relaxed) + 1;
        if table.try_reserve(adopting).is_err() {
            return;
        }
        ADOPTING.store(adopting, Ordering::Relaxed);
    }
    ending::watch(libssl, api);
    let managed = Arc::new(take_over(libssl, api, ctx));
    let stale = {
        let mut table = MANAGED.write();
        CHANGES.fetch_add(1, Ordering::Release);
        ADOPTING.fetch_sub(1, Ordering::Relaxed);
        table.insert(ctx as usize, managed)
    };
    // Its end went unnoticed; its context is gone, so nothing of it may be called any more.
    stale.iter().for_each(note_end);
    summary::begun(BEGUN.fetch_add(1, Ordering::Relaxed) + 1);
}

/// A thread that looks a context up while another one forks holds a lock for reading that nobody in the child
/// will ever give back, and the child could make and end no context any more. (Not by a handler that takes the
/// locks before the fork: the program's handlers, which run after it, may call us.)
fn mend_after_forks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler lives as long as this object, with which it is registered.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

extern "C" fn in_child() {
    give_back(&MANAGED);
    give_back(&STORING);
}

fn give_back<T>(lock: &Lazy<RwLock<T>>) {
    let Some(lock) = Lazy::get(lock) else { return };
    // Whoever was changing the table has it for good.
    while lock.is_locked() && !lock.is_locked_exclusive() {
        // SAFETY: the only thread of this process is in here, and reads nothing.
        unsafe { lock.force_unlock_read() };
    }
}

/// Turns the real internal cache off and puts our trampolines in.
fn take_over(libssl: &'static Libssl, api: &'static Api, ctx: *mut SSL_CTX) -> Managed {
    let ask = |command| {
        // SAFETY: the context is alive: it was just made and its maker has not seen it.
        inside(|| unsafe { (api.SSL_CTX_ctrl)(ctx, command, 0, std::ptr::null_mut()) })
    };
    let mode = ask(SSL_CTRL_GET_SESS_CACHE_MODE) as u32;
    let size = ask(SSL_CTRL_GET_SESS_CACHE_SIZE);
    let managed = Managed::new(libssl, api, ctx, mode, size);
    // With the callbacks that the program's ex_data functions may have set while the context was made.
    managed.take_in();
    managed
}

/// Notes that a context stores sessions.
pub(super) fn note_storing(managed: &Arc<Managed>) {
    change_storing(|list| {
        let known = list.iter().any(|storing| Arc::ptr_eq(storing, managed));
        if !known && list.try_reserve(1).is_ok() {
            list.push(Arc::clone(managed));
        }
    });
}

/// Changes the list. Without memory it stays as it is: a context that is not on it misses setters, and one
/// that has ended is found empty.
fn change_storing<R>(change: impl FnOnce(&mut Vec<Arc<Managed>>) -> R) -> Option<R> {
    let mut storing = STORING.write();
    if let Some(list) = Arc::get_mut(&mut storing) {
        return Some(change(list));
    }
    let mut list = Vec::new();
    list.try_reserve_exact(storing.len() + 1).ok()?;
    list.extend(storing.iter().cloned());
    let result = change(&mut list);
    let former = std::mem::replace(&mut *storing, Arc::new(list));
    drop(storing);
    // Its contexts are in the new list too, but for one that the result has; so no session is freed here.
    drop(former);
    Some(result)
}

/// Calls `visit` for each context that has stored something.
pub(super) fn for_each_storing(visit: impl FnMut(&Arc<Managed>)) {
    // Without the lock: visiting may free sessions.
    let storing = Arc::clone(&STORING.read());
    storing.iter().for_each(visit);
}

/// The context has ended, or is about to and takes no sessions any more.
pub(super) fn forget(managed: &Arc<Managed>) {
    let removed = {
        let mut table = MANAGED.write();
        let address = managed.ctx() as usize;
        match table.get(&address) {
            Some(found) if Arc::ptr_eq(found, managed) => {
                CHANGES.fetch_add(1, Ordering::Release);
                table.remove(&address)
            }
            _ => None,
        }
    };
    removed.iter().for_each(note_end);
}

fn note_end(managed: &Arc<Managed>) {
    note_storing_no_more(managed);
    summary::ended(managed);
}

/// A context has given up all that it stored, perhaps for good.
pub(super) fn note_storing_no_more(managed: &Arc<Managed>) {
    if managed.stops_storing() {
        let removed = change_storing(|list| {
            let place = list.iter().position(|storing| Arc::ptr_eq(storing, managed))?;
            Some(list.swap_remove(place))
        });
        drop(removed);
    }
}

/// Visits all managed contexts, unless the table is being changed at this moment.
pub(super) fn try_for_each(visit: impl FnMut(&Arc<Managed>)) {
    if let Some(table) = MANAGED.try_read() {
        table.values().for_each(visit);
    }
}
