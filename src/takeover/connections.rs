//! What must be known of an `SSL` and libssl does not tell: the context whose cache it uses, and its
//! own session id generator.
//!
//! The cache is that of the context given to `SSL_new`, also after `SSL_set_SSL_CTX` (SNI), while the
//! callbacks get only the `SSL`. So the first switch is noted here. An `SSL` that is not switched costs nothing.
//! (ex_data holds no value of ours: under another default `OSSL_LIB_CTX` its index could be somebody else's.)
//!
//! A note goes with the `SSL` where an ex_data function of ours tells of its end, which is registered if the program has
//! registered one for connections. Else it stays until another connection begins at its address; and as that may begin past
//! us (`BIO_new_ssl`, a private handle), the `SSL` gets a mark that goes with it. (The function alone would do, but the first
//! one costs every connection of the process several hundred instructions.)
//!
//! A QUIC connection has an `SSL` inside, which the program never sees, and which libssl asks the generator with. The
//! parameters of verification are one object for both, by whose address the notes are found as well.

use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::callback::Callback;
use super::registry::{find_borrowed, is_managed};
use super::{Managed, ending};
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl};
use crate::memory;
use crate::sync::Addresses;

/// Of one connection, which one thread uses at a time.
#[derive(Debug, Default)]
struct Notes {
    /// The context given to `SSL_new`, once another one was switched to.
    original: AtomicUsize,
    /// The one switched to last, or 0.
    switched: AtomicUsize,
    generate: Callback<GenerateCallback>,
    /// The other address that these notes are found by, or 0.
    inner: usize,
    /// The connection has a mark: without it, it is another one.
    marked: bool,
}

/// Tables of which each has some of the connections, so that threads that change what is noted of their own ones
/// hardly meet, nor make those that only look look twice.
static NOTES: [Part; 16] = [const { Part(Addresses::new()) }; 16];

/// In a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Part(Addresses);

fn part(address: usize) -> &'static Addresses {
    // From other bits than those that the table uses.
    let number = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    &NOTES[number].0
}

/// What is noted under the address of a connection: of this one, or of one that was there before.
fn notes_at<'a>(address: usize) -> Option<&'a Notes> {
    let notes = part(address).get(address)? as *const Notes;
    // SAFETY: from `Box::into_raw`, and freed with the connection, or by one that begins at its address: that of the
    // caller, which is alive.
    Some(unsafe { &*notes })
}

/// What is noted of a connection.
fn notes<'a>(api: &Api, ssl: *const SSL) -> Option<&'a Notes> {
    let notes = notes_at(ssl.addr())?;
    let is_its = || mark_of(api, ssl).addr() == std::ptr::from_ref(notes).addr();
    (!notes.marked || is_its()).then_some(notes)
}

/// Out of memory the connection counts as one of its present context, with that one's generator.
fn note(libssl: &'static Libssl, ssl: *const SSL, change: impl FnOnce(&Notes)) {
    let Some(api) = &libssl.api else { return };
    if let Some(notes) = notes(api, ssl) {
        return change(notes);
    }
    forget(ssl);
    let inner = inner_address(api, ssl);
    // The mark would be on the outer one alone; or the program has put something there.
    if inner != 0 || !mark_of(api, ssl).is_null() {
        ending::watch_connections(libssl, api);
    }
    let marked = !ending::watches_connections(libssl, api);
    let Some(made) = memory::boxed(Notes { inner, marked, ..Notes::default() }) else { return };
    change(&made);
    let made = Box::into_raw(made);
    if marked {
        // SAFETY: this live connection of this libssl, which keeps the pointer and does not look behind it.
        unsafe { (api.SSL_set_record_padding_callback_arg)(ssl.cast_mut(), made.cast()) };
    }
    for address in [inner, ssl.addr()].into_iter().filter(|&address| address != 0) {
        if part(address).insert(address, made.addr()).is_err() {
            return forget_notes(ssl.addr(), made);
        }
    }
}

/// The mark of a connection: the argument of a callback for the padding of records, which hardly a program sets for a single
/// connection, and which a new connection has from its context. (An ex_data value that no index was registered for would
/// make SSL_dup fail.)
fn mark_of(api: &Api, ssl: *const SSL) -> *mut c_void {
    // SAFETY: whoever asks uses this live connection of this libssl.
    unsafe { (api.SSL_get_record_padding_callback_arg)(ssl) }
}

/// The address by which the notes of a QUIC connection are found from inside; 0 for any other.
fn inner_address(api: &Api, ssl: *const SSL) -> usize {
    // SAFETY: whoever asks uses this live connection of this libssl.
    let is_quic = unsafe { (api.SSL_version)(ssl) } == OSSL_QUIC1_VERSION;
    if is_quic { parameters(api, ssl) } else { 0 }
}

fn parameters(api: &Api, ssl: *const SSL) -> usize {
    // SAFETY: as above; it is only looked at.
    api.SSL_get0_param.map_or(0, |get| unsafe { get(ssl.cast_mut()) }.addr())
}

/// A connection begins, and inherits the generator that its context has now.
pub(crate) fn begun(ssl: *const SSL, ctx: *mut SSL_CTX) {
    forget(ssl);
    if let Some(managed) = find_borrowed(ctx) {
        inherit(managed.libssl(), ssl, managed.generate_callback());
    }
}

#[inline]
fn inherit(libssl: &'static Libssl, ssl: *const SSL, generate: Option<GenerateCallback>) {
    if generate.is_some() {
        note(libssl, ssl, |notes| notes.generate.set(generate));
    }
}

/// Nothing is known of this connection any more, or yet.
pub(super) fn forget(ssl: *const SSL) {
    if let Some(notes) = notes_at(ssl.addr()) {
        forget_notes(ssl.addr(), std::ptr::from_ref(notes).cast_mut());
    }
}

fn forget_notes(address: usize, notes: *mut Notes) {
    // SAFETY: from `Box::into_raw`; the connection is being freed, or nobody has seen them.
    let inner = unsafe { (*notes).inner };
    // Another connection may have that address already: libssl frees the inner one first.
    if inner != 0 {
        part(inner).remove(inner, notes.addr());
    }
    part(address).remove(address, notes.addr());
    // SAFETY: as above, and not in the table any more.
    drop(unsafe { Box::from_raw(notes) });
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
    // A note about another context is of a former SSL at this address.
    let switched =
        notes(api, ssl).filter(|notes| notes.switched.load(Ordering::Relaxed) == current.addr());
    find_borrowed(match switched {
        Some(notes) => notes.original.load(Ordering::Relaxed) as *mut SSL_CTX,
        None => current,
    })
}

/// Notes a switch that libssl has just made.
///
/// The context before may be gone already, as the switch has dropped the connection's reference: it is not looked into.
pub(crate) fn switched(
    libssl: &'static Libssl,
    ssl: *const SSL,
    before: *mut SSL_CTX,
    after: *mut SSL_CTX,
) {
    if before == after || after.is_null() {
        return;
    }
    // Between two contexts that are not ours there is nothing to note.
    let is_noted = libssl.api.as_ref().is_some_and(|api| notes(api, ssl).is_some());
    if !is_noted && !is_managed(before) && !is_managed(after) {
        return;
    }
    note(libssl, ssl, |notes| {
        if notes.switched.load(Ordering::Relaxed) != before.addr() {
            notes.original.store(before.addr(), Ordering::Relaxed);
        }
        let original = notes.original.load(Ordering::Relaxed);
        let switched = if original == after.addr() { 0 } else { after.addr() };
        notes.switched.store(switched, Ordering::Relaxed);
    });
}

/// The program's generator for this connection alone, asked by the connection or by the one inside.
pub(super) fn generator(libssl: &Libssl, ssl: *const SSL) -> Option<GenerateCallback> {
    let api = libssl.api.as_ref()?;
    let inside = || notes_at(parameters(api, ssl));
    notes(api, ssl).or_else(inside)?.generate.get()
}

/// Notes the program's generator for this connection.
pub(crate) fn set_generator(
    libssl: &'static Libssl,
    ssl: *const SSL,
    generate: Option<GenerateCallback>,
) {
    if generate.is_some() || libssl.api.as_ref().is_some_and(|api| notes(api, ssl).is_some()) {
        note(libssl, ssl, |notes| notes.generate.set(generate));
    }
}

/// `SSL_dup` copies the generator, and makes the current context the one whose cache is used.
pub(crate) fn duplicated(libssl: &'static Libssl, from: *const SSL, to: *const SSL) {
    if from != to {
        forget(to);
        let Some(api) = &libssl.api else { return };
        inherit(libssl, to, notes(api, from).and_then(|notes| notes.generate.get()));
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
