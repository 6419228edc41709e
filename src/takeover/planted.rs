//! Sessions that lie for a moment in libssl's own internal cache, because libssl is about to look
//! there and nowhere else.
//!
//! - 0-RTT: having looked a ticket up, libssl demands that its own removal finds the session, or it
//!   skips the ticket.
//! - A session id generator: libssl looks for a session with the new id, to refuse it.
//!
//! libssl looks right after our callback returns, on the same thread. What it refused before it came
//! to look is a stray: the thread that planted it reaps it when it is next here.

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::Managed;
use crate::libssl::{Session, SessionRef, inside};

struct Planted {
    managed: Arc<Managed>,
    session: Session,
    /// Whether it came out of our cache and goes back there if libssl has no use for it.
    stored: bool,
}

thread_local! {
    // Without a destructor: one would run at the end of a thread, when libssl may be gone.
    static PLANTED: Cell<Option<ManuallyDrop<Planted>>> = const { Cell::new(None) };
}

/// Puts a session that was taken out of our cache where libssl is about to remove it from.
pub(super) fn plant(managed: &Arc<Managed>, session: &Session) {
    put(managed, session.clone(), true);
}

/// Puts a session with this id where libssl is about to find the conflict.
pub(super) fn plant_conflict(managed: &Arc<Managed>, version: c_int, id: &[u8]) {
    let api = managed.api();
    let Some(session) = Session::create(api) else { return };
    // SAFETY: the session is ours, and the id has at most 32 bytes.
    unsafe { (api.SSL_SESSION_set1_id)(session.as_ptr(), id.as_ptr(), id.len() as u32) };
    // SAFETY: the session is ours.
    unsafe { (api.SSL_SESSION_set_protocol_version)(session.as_ptr(), version) };
    put(managed, session, false);
}

fn put(managed: &Arc<Managed>, session: Session, stored: bool) {
    reap();
    // SAFETY: context and session are alive; the real cache takes a reference of its own.
    inside(|| unsafe {
        (managed.api().SSL_CTX_add_session)(managed.ctx(), session.as_ptr());
    });
    let planted = Planted { managed: Arc::clone(managed), session, stored };
    PLANTED.set(Some(ManuallyDrop::new(planted)));
}

/// libssl, or the program, removes this session: if it is the planted one, it is no stray.
pub(super) fn consumed(managed: &Arc<Managed>, session: SessionRef) -> Option<impl Sized + use<>> {
    let planted = ManuallyDrop::into_inner(PLANTED.take()?);
    if *planted.session == session && Arc::ptr_eq(&planted.managed, managed) {
        return Some(planted);
    }
    PLANTED.set(Some(ManuallyDrop::new(planted)));
    None
}

/// Takes back what libssl had no use for.
pub(crate) fn reap() {
    let Some(planted) = PLANTED.take() else { return };
    let Planted { managed, session, stored } = ManuallyDrop::into_inner(planted);
    if managed.is_ending() {
        return;
    }
    // SAFETY: a context that is not ending is alive, and so is the session.
    let was_there = inside(|| unsafe {
        (managed.api().SSL_CTX_remove_session)(managed.ctx(), session.as_ptr()) == 1
    });
    if was_there && stored {
        managed.put_back(session);
    }
}
