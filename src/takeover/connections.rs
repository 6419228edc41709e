//! Facts about an `SSL` that libssl does not tell: the context whose cache it uses, its own session id generator,
//! and who has decided on its tickets.
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

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::context::{Callback, Context};
use super::registry::{self, Found};
use super::watch;
use crate::libssl::types::*;
use crate::libssl::{Api, Libssl};
use crate::memory;
use crate::sharing::{Questions, Resumed, Sharing};
use crate::sync::Addresses;

/// Of one connection, which one thread uses at a time.
#[derive(Debug, Default)]
struct Notes {
    /// The context given to `SSL_new`, once another one was switched to.
    original: AtomicUsize,
    /// The one switched to last, or 0.
    switched: AtomicUsize,
    generate: Callback<GenerateCallback>,
    /// A number of [`Tickets`].
    tickets: AtomicU8,
    /// The other address that these notes are found by, or 0.
    inner: usize,
    /// The connection has a mark: without it, it is another one.
    marked: bool,
    /// The session that it has resumed last, where sessions are shared.
    resumed: Cell<Option<Resumed>>,
    /// What it has asked the fleet.
    questions: Cell<Questions>,
}

/// Who has decided which tickets a connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tickets {
    /// Nobody so far.
    Undecided,
    /// We have: they are stateful, and the program does not see why.
    Stateful,
    /// The program has.
    Program,
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

/// The notes under the address of a connection: of this one, or of one that was there before.
fn notes_at<'a>(address: usize) -> Option<&'a Notes> {
    let notes = part(address).get(address)? as *const Notes;
    // SAFETY: from `Box::into_raw`, and freed with the connection, or by one that begins at its address: that of the
    // caller, which is alive.
    Some(unsafe { &*notes })
}

/// The notes of a connection.
fn notes<'a>(api: &Api, ssl: SslRef<'a>) -> Option<&'a Notes> {
    let notes = notes_at(ssl.address())?;
    let is_its = || mark_of(api, ssl).addr() == std::ptr::from_ref(notes).addr();
    (!notes.marked || is_its()).then_some(notes)
}

/// Out of memory the connection counts as one of its present context, with that one's generator.
fn note(libssl: &'static Libssl, ssl: SslRef<'_>, change: impl FnOnce(&Notes)) {
    let Some(api) = &libssl.api else { return };
    if let Some(notes) = notes(api, ssl) {
        return change(notes);
    }
    forget(ssl);
    let inner = inner_address(api, ssl);
    // The mark would be on the outer one alone; or the program has put something there.
    if inner != 0 || !mark_of(api, ssl).is_null() {
        watch_connections(libssl, api);
    }
    let marked = !watch::is_watched(libssl, api, CRYPTO_EX_INDEX_SSL);
    let Some(made) = memory::boxed(Notes { inner, marked, ..Notes::default() }) else { return };
    change(&made);
    let made = Box::into_raw(made);
    if marked {
        (api.SSL_set_record_padding_callback_arg)(ssl, made.cast());
    }
    for address in [inner, ssl.address()].into_iter().filter(|&address| address != 0) {
        if part(address).insert(address, made.addr()).is_err() {
            return forget_notes(ssl.address(), made);
        }
    }
}

/// Makes sure that the end of connections is noticed, also of those that were made before. Only where libcrypto has
/// functions to call for each connection anyway, or where it must be: the first one costs every connection several hundred
/// instructions.
pub(crate) fn watch_connections(libssl: &Libssl, api: &Api) {
    watch::watch(libssl, api, CRYPTO_EX_INDEX_SSL, None, connection_freed);
}

unsafe extern "C-unwind" fn connection_freed(
    ssl: *mut c_void,
    _value: *mut c_void,
    _table: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    // SAFETY: the connection is alive until its ex_data is freed.
    unsafe { SslRef::new(ssl.cast()) }.into_iter().for_each(forget);
}

/// The mark of a connection: the argument of a callback for the padding of records, which hardly a program sets for a single
/// connection, and which a new connection has from its context. (An ex_data value that no index was registered for would
/// make SSL_dup fail.)
fn mark_of(api: &Api, ssl: SslRef<'_>) -> *mut c_void {
    (api.SSL_get_record_padding_callback_arg)(ssl)
}

/// The address by which the notes of a QUIC connection are found from inside; 0 for any other.
fn inner_address(api: &Api, ssl: SslRef<'_>) -> usize {
    let is_quic = (api.SSL_version)(ssl) == OSSL_QUIC1_VERSION;
    if is_quic { parameters(api, ssl) } else { 0 }
}

fn parameters(api: &Api, ssl: SslRef<'_>) -> usize {
    api.SSL_get0_param.map_or(0, |get| get(ssl).addr())
}

/// See [`Context::take_in`]: before a connection is made of this context. Returns the context's libssl if it is taken over.
pub(crate) fn before_new(ctx: CtxRef<'_>) -> Option<&'static Libssl> {
    let context = registry::find_borrowed(ctx)?;
    context.take_in();
    context.sharing().into_iter().for_each(Sharing::before_connection);
    context.obey_without_callbacks();
    Some(context.libssl)
}

/// A connection begins, and inherits the generator that its context has now.
pub(crate) fn begun(ssl: SslRef<'_>, ctx: CtxRef<'_>) {
    forget(ssl);
    if let Some(context) = registry::find_borrowed(ctx) {
        inherit(context.libssl, ssl, context.generate.get());
    }
}

#[inline]
fn inherit(libssl: &'static Libssl, ssl: SslRef<'_>, generate: Option<GenerateCallback>) {
    if generate.is_some() {
        note(libssl, ssl, |notes| notes.generate.set(generate));
    }
}

/// Nothing is known of this connection any more, or yet.
fn forget(ssl: SslRef<'_>) {
    if let Some(notes) = notes_at(ssl.address()) {
        forget_notes(ssl.address(), std::ptr::from_ref(notes).cast_mut());
    }
}

fn forget_notes(address: usize, notes: *mut Notes) {
    // SAFETY: from `Box::into_raw`; the connection is being freed, or nobody has seen them.
    let notes = unsafe { Box::from_raw(notes) };
    let value = std::ptr::from_ref(&*notes).addr();
    // Another connection may have that address already: libssl frees the inner one first.
    if notes.inner != 0 {
        part(notes.inner).remove(notes.inner, value);
    }
    part(address).remove(address, value);
}

/// The context whose cache this connection uses (C13), if it is taken over.
pub(crate) fn session_context(libssl: &Libssl, ssl: SslRef<'_>) -> Option<Arc<Context>> {
    session_context_borrowed(libssl, ssl).map(|context| Arc::clone(&context))
}

/// The same without counting a reference, for callers that run no callback meanwhile: see [`Found`].
#[inline(always)] // each lookup does it, and so looks up its thread's data once
pub(crate) fn session_context_borrowed(libssl: &Libssl, ssl: SslRef<'_>) -> Option<Found> {
    let api = libssl.api.as_ref()?;
    let current = (api.SSL_get_SSL_CTX)(ssl)?.address();
    // A note about another context is of a former SSL at this address.
    let switched =
        notes(api, ssl).filter(|notes| notes.switched.load(Ordering::Relaxed) == current);
    registry::find_at(match switched {
        Some(notes) => notes.original.load(Ordering::Relaxed),
        None => current,
    })
}

/// Notes a switch that libssl has just made, between the contexts of these addresses.
///
/// The context before may be gone already, as the switch has dropped the connection's reference: it is not looked into.
pub(crate) fn switched(libssl: &'static Libssl, ssl: SslRef<'_>, before: usize, after: usize) {
    if before == after || after == 0 {
        return;
    }
    // Between two contexts that are not ours there is nothing to note.
    if !is_noted(libssl, ssl) && !registry::is_known(before) && !registry::is_known(after) {
        return;
    }
    note(libssl, ssl, |notes| {
        if notes.switched.load(Ordering::Relaxed) != before {
            notes.original.store(before, Ordering::Relaxed);
        }
        let original = notes.original.load(Ordering::Relaxed);
        notes.switched.store(if original == after { 0 } else { after }, Ordering::Relaxed);
    });
}

fn is_noted(libssl: &Libssl, ssl: SslRef<'_>) -> bool {
    libssl.api.as_ref().is_some_and(|api| notes(api, ssl).is_some())
}

/// The program's generator for this connection alone, asked by the connection or by the one inside.
pub(super) fn generator(libssl: &Libssl, ssl: SslRef<'_>) -> Option<GenerateCallback> {
    let api = libssl.api.as_ref()?;
    let inside = || notes_at(parameters(api, ssl));
    notes(api, ssl).or_else(inside)?.generate.get()
}

/// Notes the program's generator for this connection.
pub(crate) fn set_generator(
    libssl: &'static Libssl,
    ssl: SslRef<'_>,
    generate: Option<GenerateCallback>,
) {
    if generate.is_some() || is_noted(libssl, ssl) {
        note(libssl, ssl, |notes| notes.generate.set(generate));
    }
}

/// The session that the connection resumes, as far as that is of interest to others.
pub(super) fn resumed(libssl: &Libssl, ssl: SslRef<'_>) -> Option<Resumed> {
    notes(libssl.api.as_ref()?, ssl)?.resumed.get()
}

/// Notes the session that the connection resumes, or that it resumes none. Without memory for that it resumes none.
pub(super) fn note_resumed(libssl: &'static Libssl, ssl: SslRef<'_>, resumed: Option<Resumed>) {
    if resumed.is_some() || is_noted(libssl, ssl) {
        note(libssl, ssl, |notes| notes.resumed.set(resumed));
    }
}

/// What the connection has asked the fleet, which is the share library's to change while the connection is in use; NULL without
/// memory for it.
pub(super) fn questions(libssl: &'static Libssl, ssl: SslRef<'_>) -> *mut Questions {
    let mut questions = std::ptr::null_mut();
    note(libssl, ssl, |notes| questions = notes.questions.as_ptr());
    questions
}

/// Who has decided on the tickets of this connection.
pub(super) fn tickets(libssl: &Libssl, ssl: SslRef<'_>) -> Tickets {
    let noted = libssl.api.as_ref().and_then(|api| notes(api, ssl));
    let noted = noted.map_or(0, |notes| notes.tickets.load(Ordering::Relaxed));
    let is = |tickets: &Tickets| *tickets as u8 == noted;
    [Tickets::Stateful, Tickets::Program].into_iter().find(is).unwrap_or(Tickets::Undecided)
}

/// Notes who has decided on the tickets of this connection.
pub(super) fn set_tickets(libssl: &'static Libssl, ssl: SslRef<'_>, tickets: Tickets) {
    note(libssl, ssl, |notes| notes.tickets.store(tickets as u8, Ordering::Relaxed));
}

/// `SSL_dup` copies the options and the generator, and makes the current context the one whose cache is used.
pub(crate) fn duplicated(libssl: &'static Libssl, from: SslRef<'_>, to: SslRef<'_>) {
    if from != to {
        forget(to);
        let Some(api) = &libssl.api else { return };
        inherit(libssl, to, notes(api, from).and_then(|notes| notes.generate.get()));
        let tickets = tickets(libssl, from);
        if tickets != Tickets::Undecided {
            set_tickets(libssl, to, tickets);
        }
    }
}

/// An `SSL` whose cache is this context's, for questions about it.
pub(super) struct Connection<'a> {
    context: &'a Context,
    ssl: SslRef<'a>,
    /// `SSL_version`, which is 1 for QUIC.
    raw_version: c_int,
}

impl<'a> Connection<'a> {
    pub(super) fn new(context: &'a Context, ssl: SslRef<'a>) -> Self {
        Self { context, ssl, raw_version: (context.api.SSL_version)(ssl) }
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
        (self.context.api.SSL_is_server)(self.ssl) == 1
    }

    pub(super) fn has_option(&self, option: u32) -> bool {
        let api = self.context.api;
        let options = if self.is_quic() {
            // SSL_get_options would take a mutex that libssl holds while it calls us.
            (api.SSL_CTX_get_options)(self.context.ctx())
        } else {
            (api.SSL_get_options)(self.ssl)
        };
        options as u32 & option != 0
    }

    /// Returns whether libssl is going to demand that its internal cache gives the session up (0-RTT).
    pub(super) fn refuses_replays(&self) -> bool {
        self.is_tls13()
            && self.is_server()
            && (self.context.api.SSL_get_max_early_data)(self.ssl) > 0
            && !self.has_option(SSL_OP_NO_ANTI_REPLAY)
    }
}

/// Returns whether a session of this connection's version with this id is stored.
pub(crate) fn has_matching(context: &Context, ssl: SslRef<'_>, id: &[u8]) -> bool {
    context.has(Connection::new(context, ssl).version(), id)
}
