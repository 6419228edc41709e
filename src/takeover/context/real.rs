//! What is set on a managed context past us (P12): through a handle of the program's own, or by a wrapper
//! that finds libssl's functions behind ours.

use std::ffi::{c_int, c_long};
use std::sync::atomic::Ordering;

use super::callback::{Callback, is_same};
use super::registry::find_borrowed;
use super::{Managed, trampolines};
use crate::libssl::Libssl;
use crate::libssl::types::*;

/// The real cache has no limit, or its own eviction would see what is planted there. (Not 0, which a program
/// may set past us.)
const REAL_SIZE: c_long = c_long::MAX;

/// What each real mode of ours has besides the program's client and server bits.
const REAL_FLAGS: u32 = SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR;

/// The real mode that leaves the cache to us. The client and server bits decide whether libssl tells us of new
/// sessions, and a server's whether it sends a session id at all.
pub(super) fn real_mode(mode: u32) -> u32 {
    mode & SSL_SESS_CACHE_BOTH | REAL_FLAGS
}

/// See [`Managed::take_in`]: before a connection is made of this context. Returns the context's libssl if it is managed.
pub(crate) fn take_in(ctx: *mut SSL_CTX) -> Option<&'static Libssl> {
    let managed = find_borrowed(ctx)?;
    managed.take_in();
    managed.obey_without_callbacks();
    Some(managed.libssl())
}

impl Managed {
    /// Compares callbacks, mode and size of the real context with what we set. What differs becomes the
    /// program's, and ours is set again.
    ///
    /// A value that equals ours cannot be seen. A generator of session ids cannot either, as libssl does not
    /// tell which one is set.
    pub(crate) fn take_in(&self) {
        let (api, ctx) = (self.api(), self.ctx());
        let (new, get, remove) = trampolines::of(self.libssl());
        // SAFETY: the context is alive: whoever called us uses it.
        if differs(&self.new, new, unsafe { (api.SSL_CTX_sess_get_new_cb)(ctx) }) {
            // SAFETY: as above; ours lives as long as the process.
            unsafe { (api.SSL_CTX_sess_set_new_cb)(ctx, Some(new)) };
        }
        // SAFETY: as above.
        if differs(&self.get, get, unsafe { (api.SSL_CTX_sess_get_get_cb)(ctx) }) {
            // SAFETY: as above.
            unsafe { (api.SSL_CTX_sess_set_get_cb)(ctx, Some(get)) };
        }
        // SAFETY: as above.
        if differs(&self.remove, remove, unsafe { (api.SSL_CTX_sess_get_remove_cb)(ctx) }) {
            // SAFETY: as above.
            unsafe { (api.SSL_CTX_sess_set_remove_cb)(ctx, Some(remove)) };
        }
        self.take_in_mode();
        let size = self.ask_real(SSL_CTRL_GET_SESS_CACHE_SIZE);
        if size != REAL_SIZE {
            self.note_size(size);
            self.real_ctrl(SSL_CTRL_SET_SESS_CACHE_SIZE, REAL_SIZE);
        }
        self.publish_view();
    }

    /// Whether libssl may make room in its own cache when a session is added past us: it has a limit, set past us;
    /// or, through the PLT, asks us whether the cache is full.
    pub(super) fn may_real_cache_evict(&self) -> bool {
        let (size, number) = (self.size(), self.sessions());
        self.ask_real(SSL_CTRL_GET_SESS_CACHE_SIZE) != REAL_SIZE || (size > 0 && number >= size)
    }

    /// Asks the real context for a value. libssl takes no lock for it and calls nothing back.
    pub(super) fn ask_real(&self, command: c_int) -> c_long {
        // SAFETY: the context is alive: whoever called us uses it.
        unsafe { (self.api().SSL_CTX_ctrl)(self.ctx(), command, 0, std::ptr::null_mut()) }
    }

    fn take_in_mode(&self) {
        let mode = self.mode();
        let real = self.ask_real(SSL_CTRL_GET_SESS_CACHE_MODE) as u32;
        if real == real_mode(mode) {
            return;
        }
        // Whoever has read our flags past us and changed a bit beside them does not want them.
        let is_ours = real & !SSL_SESS_CACHE_BOTH == REAL_FLAGS;
        let wanted =
            if is_ours { mode & !SSL_SESS_CACHE_BOTH | real & SSL_SESS_CACHE_BOTH } else { real };
        // Not if another thread has just set the mode through us: we then saw only half of that.
        let order = Ordering::Relaxed;
        if self.mode.compare_exchange(mode, wanted, order, order).is_ok() {
            self.set_real_mode(wanted);
        }
    }
}

/// Whether libssl has another callback than ours. Then that one is the program's from now on.
fn differs<F: Copy>(callback: &Callback<F>, ours: F, real: Option<F>) -> bool {
    let differs = !is_same(real, Some(ours));
    if differs {
        callback.replace(real);
    }
    differs
}
