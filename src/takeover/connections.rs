//! What must be known of an `SSL` and libssl does not tell: the context whose cache it uses, and its
//! own session id generator.
//!
//! The cache is that of the context given to `SSL_new`, also after `SSL_set_SSL_CTX` (SNI), while the
//! callbacks get only the `SSL`. So the first switch is noted here, until the `SSL` is freed. An `SSL`
//! that is not switched costs nothing. (ex_data holds no value of ours: under another default
//! `OSSL_LIB_CTX` its index could be somebody else's.)

use std::collections::HashMap;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use once_cell::sync::Lazy;
use parking_lot::RwLock;

use super::registry::find_borrowed;
use super::{Managed, find};
use crate::guard::uncancelled;
use crate::libssl::Libssl;
use crate::libssl::types::*;

#[derive(Debug, Clone, Copy, Default)]
struct Notes {
    /// The context given to `SSL_new`, once another one was switched to.
    original: usize,
    /// The one switched to last, or 0.
    switched: usize,
    generate: Option<GenerateCallback>,
}

static NOTES: Lazy<RwLock<HashMap<usize, Notes>>> = Lazy::new(RwLock::default);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What is noted, or nothing but zeros.
fn notes(ssl: *const SSL) -> Notes {
    if COUNT.load(Ordering::Acquire) == 0 {
        return Notes::default();
    }
    NOTES.read().get(&(ssl as usize)).copied().unwrap_or_default()
}

fn note(ssl: *const SSL, change: impl FnOnce(&mut Notes)) {
    // The first one makes the table, with a seed from random bytes.
    let mut table = uncancelled(|| NOTES.write());
    // Without memory the connection counts as one of its present context.
    if table.try_reserve(1).is_err() {
        return;
    }
    change(table.entry(ssl as usize).or_default());
    COUNT.store(table.len(), Ordering::Release);
}

/// A connection begins, and inherits the generator that its context has now.
pub(crate) fn begun(ssl: *const SSL, ctx: *mut SSL_CTX) {
    forget(ssl);
    set_generator(ssl, find(ctx).and_then(|managed| managed.generate_callback()));
}

/// Nothing is known of this connection any more, or yet.
pub(super) fn forget(ssl: *const SSL) {
    if COUNT.load(Ordering::Acquire) > 0 {
        let mut table = NOTES.write();
        table.remove(&(ssl as usize));
        COUNT.store(table.len(), Ordering::Release);
    }
}

/// The managed context whose cache this connection uses (C13).
pub(crate) fn session_context(libssl: &Libssl, ssl: *const SSL) -> Option<Arc<Managed>> {
    session_context_borrowed(libssl, ssl).map(|managed| Arc::clone(&managed))
}

/// The same, for who runs no callback meanwhile: see [`find_borrowed`].
pub(crate) fn session_context_borrowed(
    libssl: &Libssl,
    ssl: *const SSL,
) -> Option<ManuallyDrop<Arc<Managed>>> {
    let api = libssl.api.as_ref()?;
    // SAFETY: whoever asks uses this live connection of this libssl.
    let current = unsafe { (api.SSL_get_SSL_CTX)(ssl) };
    let notes = notes(ssl);
    // A note about another context is of a former SSL at this address.
    let is_switched = notes.switched == current as usize;
    find_borrowed(if is_switched { notes.original as *mut SSL_CTX } else { current })
}

/// Notes a switch that libssl has just made.
pub(crate) fn switched(ssl: *const SSL, before: *mut SSL_CTX, after: *mut SSL_CTX) {
    if before == after || after.is_null() {
        return;
    }
    note(ssl, |notes| {
        if notes.switched != before as usize {
            notes.original = before as usize;
        }
        notes.switched = if notes.original == after as usize { 0 } else { after as usize };
    });
}

/// The program's generator for this connection alone.
pub(super) fn generator(ssl: *const SSL) -> Option<GenerateCallback> {
    notes(ssl).generate
}

/// Notes the program's generator for this connection.
pub(crate) fn set_generator(ssl: *const SSL, generate: Option<GenerateCallback>) {
    if generate.is_some() || notes(ssl).generate.is_some() {
        note(ssl, |notes| notes.generate = generate);
    }
}

/// `SSL_dup` copies the generator, and makes the current context the one whose cache is used.
pub(crate) fn duplicated(from: *const SSL, to: *const SSL) {
    if from != to {
        forget(to);
        set_generator(to, generator(from));
    }
}

/// What is asked of an `SSL` whose cache is this context's.
pub(super) struct Connection<'a> {
    managed: &'a Managed,
    ssl: *mut SSL,
    /// `SSL_version`, which is 1 for QUIC.
    raw_version: c_int,
}

impl<'a> Connection<'a> {
    pub(super) fn new(managed: &'a Managed, ssl: *mut SSL) -> Self {
        // SAFETY: libssl calls us for this live connection.
        let raw_version = unsafe { (managed.api().SSL_version)(ssl) };
        Self { managed, ssl, raw_version }
    }

    fn is_quic(&self) -> bool {
        self.raw_version == OSSL_QUIC1_VERSION
    }

    pub(super) fn version(&self) -> c_int {
        if self.is_quic() { TLS1_3_VERSION } else { self.raw_version }
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.version() == TLS1_3_VERSION
    }

    pub(super) fn is_server(&self) -> bool {
        // SAFETY: libssl calls us for this live connection.
        unsafe { (self.managed.api().SSL_is_server)(self.ssl) == 1 }
    }

    pub(super) fn has_option(&self, option: u32) -> bool {
        let api = self.managed.api();
        let options = if self.is_quic() {
            // SSL_get_options would take a mutex that libssl holds while it calls us.
            // SAFETY: the context of a live connection.
            unsafe { (api.SSL_CTX_get_options)(self.managed.ctx()) }
        } else {
            // SAFETY: libssl calls us for this live connection.
            unsafe { (api.SSL_get_options)(self.ssl) }
        };
        options as u32 & option != 0
    }

    /// Whether libssl is going to demand that its internal cache gives the session up (0-RTT).
    pub(super) fn refuses_replays(&self) -> bool {
        self.is_tls13()
            && self.is_server()
            // SAFETY: libssl calls us for this live connection.
            && unsafe { (self.managed.api().SSL_get_max_early_data)(self.ssl) } > 0
            && !self.has_option(SSL_OP_NO_ANTI_REPLAY)
    }
}

/// Whether a session of this connection's version with this id is stored.
pub(crate) fn has_matching(managed: &Managed, ssl: *mut SSL, id: &[u8]) -> bool {
    managed.has(Connection::new(managed, ssl).version(), id)
}
