//! libssl's context behind a context: every call to it, our sentinel in it, and what the program has set on it past us
//! (P12): through a handle of its own, or by a wrapper that finds libssl's functions behind ours.

use std::ffi::{CStr, c_int, c_long};
use std::sync::atomic::Ordering;

use super::callback::{Callback, is_same};
use super::state::Context;
use super::view::saturate;
use crate::libssl::types::*;
use crate::libssl::{Session, SessionRef, call_libssl};
use crate::published::Handshakes;
use crate::takeover::{tickets, watch};

/// The real cache has no limit, or its own eviction would see what is planted there. (Not 0, which a program
/// may set past us.)
const REAL_SIZE: c_long = c_long::MAX;

/// The flags that each real mode of ours has besides the program's client and server bits.
const REAL_FLAGS: u32 = SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR;

/// The real mode that leaves the cache to us. The client and server bits decide whether libssl tells us of new
/// sessions, and a server's whether it sends a session id at all.
fn real_mode(mode: u32) -> u32 {
    mode & SSL_SESS_CACHE_BOTH | REAL_FLAGS
}

impl Context {
    /// Sets the program's mode, gives libssl the one that leaves the cache to us, and returns the
    /// program's previous one.
    pub(crate) fn set_mode(&self, mode: u32) -> u32 {
        self.set_real_mode(mode);
        let former = self.mode.swap(mode, Ordering::Relaxed);
        self.publish_view();
        former
    }

    fn set_real_mode(&self, mode: u32) {
        let real = real_mode(mode);
        self.real_ctrl(SSL_CTRL_SET_SESS_CACHE_MODE, c_long::from(real as i32));
    }

    /// Sets the size and returns the previous one; a negative one is refused with 0 (C1).
    pub(crate) fn set_size(&self, size: c_long) -> c_long {
        if size < 0 {
            return 0;
        }
        self.take_in();
        self.note_size(size)
    }

    // A value set past us before is overwritten, and does not come back.

    pub(crate) fn set_new(&self, callback: Option<NewCallback>) {
        self.take_in();
        self.new.set(callback);
    }

    pub(crate) fn set_get(&self, callback: Option<GetCallback>) {
        self.take_in();
        self.get.set(callback);
        self.publish_view();
    }

    pub(crate) fn set_remove(&self, callback: Option<RemoveCallback>) {
        self.take_in();
        self.remove.set(callback);
    }

    /// Lookups that found nothing here, and those that libssl itself counts (a client's). What a get callback
    /// does not find is no miss to libssl (C12).
    pub(crate) fn misses(&self) -> c_long {
        let real = self.real_ctrl(SSL_CTRL_SESS_MISSES, 0);
        saturate(self.cache.statistics().misses).saturating_add(real)
    }

    /// Compares callbacks, mode and size of the real context with what we set. What differs becomes the
    /// program's, and ours is set again.
    ///
    /// A value that equals ours cannot be seen. A generator of session ids cannot either, as libssl does not
    /// tell which one is set.
    pub(crate) fn take_in(&self) {
        let (api, ctx, ours) = (self.api, self.ctx(), self.trampolines);
        if take_in_callback(&self.new, ours.new, (api.SSL_CTX_sess_get_new_cb)(ctx)) {
            (api.SSL_CTX_sess_set_new_cb)(ctx, Some(ours.new));
        }
        if take_in_callback(&self.get, ours.get, (api.SSL_CTX_sess_get_get_cb)(ctx)) {
            (api.SSL_CTX_sess_set_get_cb)(ctx, Some(ours.get));
        }
        if take_in_callback(&self.remove, ours.remove, (api.SSL_CTX_sess_get_remove_cb)(ctx)) {
            (api.SSL_CTX_sess_set_remove_cb)(ctx, Some(ours.remove));
        }
        self.take_in_mode();
        let size = self.ask_real(SSL_CTRL_GET_SESS_CACHE_SIZE);
        if size != REAL_SIZE {
            self.note_size(size);
            self.real_ctrl(SSL_CTRL_SET_SESS_CACHE_SIZE, REAL_SIZE);
        }
        self.publish_view();
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

    /// Publishes what the program has set, and what libssl itself has counted.
    pub(crate) fn publish_view(&self) {
        if !self.events.is_published() {
            return;
        }
        let has_tickets = (self.api.SSL_CTX_get_options)(self.ctx()) as u32 & SSL_OP_NO_TICKET == 0;
        let tickets = has_tickets && !(tickets::are_stateful() && self.serves());
        let handshakes = Handshakes {
            accepted: self.ask_real(SSL_CTRL_SESS_ACCEPT_GOOD) as u32,
            connected: self.ask_real(SSL_CTRL_SESS_CONNECT_GOOD) as u32,
            resumed: self.ask_real(SSL_CTRL_SESS_HIT) as u32,
        };
        self.events.view(self.mode(), self.get.get().is_some(), tickets, handshakes);
    }

    /// Returns whether libssl may make room in its own cache when a session is added past us: it has a limit, set past us;
    /// or, through the PLT, asks us whether the cache is full.
    pub(crate) fn may_real_cache_evict(&self) -> bool {
        let (size, number) = (self.size(), self.sessions());
        self.ask_real(SSL_CTRL_GET_SESS_CACHE_SIZE) != REAL_SIZE || (size > 0 && number >= size)
    }

    /// Asks the real context for a value. libssl takes no lock for it and calls nothing back.
    pub(crate) fn ask_real(&self, command: c_int) -> c_long {
        self.api.ctrl(self.ctx(), command, 0)
    }

    fn real_ctrl(&self, command: c_int, value: c_long) -> c_long {
        call_libssl(|| self.api.ctrl(self.ctx(), command, value))
    }

    /// Removes everything from the real cache, whose sessions come to our remove callback.
    pub(crate) fn flush_real(&self) {
        if let Some(flush_ex) = self.api.SSL_CTX_flush_sessions_ex {
            flush_ex(self.ctx(), 0);
        } else if let Some(flush) = self.api.SSL_CTX_flush_sessions {
            flush(self.ctx(), 0);
        }
    }

    /// Returns whether a session from the get callback will be used by this libssl.
    pub(crate) fn accepts(&self, session: SessionRef<'_>) -> bool {
        !self.libssl.ignores_not_resumable() || session.is_resumable()
    }

    /// Marks a session not resumable.
    ///
    /// The public ABI has one way: the real removal marks its argument even when it is absent. It
    /// runs through the session's own context, whose lock hardly anyone else takes now that lookups
    /// are ours. (Through a private context there is no contention at all, but making one can fail,
    /// and the gain did not show: see docs/benchmarks.md.)
    #[inline]
    pub(super) fn mark_not_resumable(&self, session: SessionRef<'_>) {
        self.remove_real(session);
    }

    /// The same for many.
    pub(super) fn mark_all_not_resumable(&self, sessions: &[Session]) {
        self.remove_all_real(sessions.iter().map(Session::get));
    }

    /// Adds a session of ours to the real cache.
    pub(super) fn add_real(&self, session: &Session) {
        let add = self.api.SSL_CTX_add_session;
        // The real cache takes a reference of its own.
        if call_libssl(|| add(self.ctx(), session.get().any())) != 1 {
            // Out of memory, libssl before 4.0 takes its reference back but leaves the session in its
            // list, and gives up what it has not when it removes it: it gets one of ours.
            std::mem::forget(session.clone());
        }
    }

    /// Removes a session from the real cache, if libssl is not just freeing that. Our trampoline is silent meanwhile.
    #[inline]
    pub(super) fn remove_real(&self, session: SessionRef<'_>) {
        self.remove_all_real([session]);
    }

    #[inline]
    fn remove_all_real<'a>(&self, sessions: impl IntoIterator<Item = SessionRef<'a>>) {
        let remove = self.api.SSL_CTX_remove_session;
        let ctx = match self.sentinel.has_fallen_here() {
            true => watch::scratch_context(self.libssl, self.api),
            false => Some(self.ctx()),
        };
        if let Some(ctx) = ctx {
            call_libssl(|| sessions.into_iter().for_each(|session| _ = remove(ctx, session.any())));
        }
    }

    /// Plants the context's sentinel, unless it stands. Out of memory, the first net must do.
    pub(crate) fn plant_sentinel(&self) {
        if !self.is_ending() {
            self.sentinel.make(self.libssl).iter().for_each(|session| self.add_real(session));
        }
    }

    /// Removes the context's sentinel, if it still stands.
    pub(crate) fn remove_sentinel(&self) {
        if let Some(sentinel) = self.sentinel.take(|_| true) {
            self.remove_real(sentinel.get());
        }
    }

    /// Returns whether libcrypto will tell of the context's end.
    pub(crate) fn is_watched(&self) -> bool {
        watch::hears_of_contexts(self.libssl, self.api)
    }

    /// Returns whether libssl removes everything because it frees the context: there is no reference any more, and
    /// `SSL_CTX_up_ref` says so. `None` if that may not be asked: in a libssl with debugging assertions it ends the
    /// process.
    ///
    /// (The one raised then stays. It is harmless: libssl does not look at the count again, and a reference that a
    /// callback takes and drops cannot free the context a second time.)
    pub(crate) fn is_being_freed(&self) -> Option<bool> {
        const CFLAGS: c_int = 1; // OPENSSL_CFLAGS
        let api = self.api;
        let flags = (api.OpenSSL_version)(CFLAGS);
        if flags.is_null() {
            return None;
        }
        // SAFETY: OpenSSL_version returns a static string.
        let flags = unsafe { CStr::from_ptr(flags) }.to_bytes();
        if !flags.split(u8::is_ascii_whitespace).any(|flag| flag == b"-DNDEBUG") {
            return None;
        }
        // (libssl is in a call for this context; the count is atomic, and no lock is taken.)
        let has_others = (api.SSL_CTX_up_ref)(self.ctx()) == 1;
        if has_others {
            // SAFETY: gives up the reference just taken, which is not the last one: the flush's caller has one.
            unsafe { (api.SSL_CTX_free)(self.ctx().as_ptr()) };
        }
        Some(!has_others)
    }
}

/// Returns whether libssl has another callback than ours. Then that one is the program's from now on.
fn take_in_callback<F: Copy>(callback: &Callback<F>, ours: F, real: Option<F>) -> bool {
    let differs = !is_same(real, Some(ours));
    if differs {
        callback.replace(real);
    }
    differs
}
