//! The share library, which is opened if `SSLSWEEP_SHARE` is set, and what it knows of one context. Without it, each function
//! here does nothing after one look.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::race::OnceRef;
use sslsweep_share_table::{Core, Open, Origin, Share, State, VERSION};
pub(crate) use sslsweep_share_table::{Event, Publication, Questions, QuestionsOf, Resumed};

use crate::libssl::types::{CtxRef, OSSL_LIB_CTX, SslRef};
use crate::libssl::{self, Libssl, Session, SessionRef};
use crate::{memory, options, report, system};

/// The share library, once it is open.
static SHARE: OnceRef<'static, Share> = OnceRef::new();

static CORE: Core = Core { version: VERSION, find, report: report_line, event };

/// The name of the share library that belongs to this one.
const NAME: &CStr = {
    macro_rules! name {
        ($($number:expr),*) => { concat!("libsslsweep-share.so.", $($number,)* "\0").as_bytes() };
    }
    const MAJOR: &str = env!("CARGO_PKG_VERSION_MAJOR");
    // The ABI's number, as in the Makefile.
    let name = match MAJOR.as_bytes() {
        b"0" => name!("0.", env!("CARGO_PKG_VERSION_MINOR")),
        _ => name!(env!("CARGO_PKG_VERSION_MAJOR")),
    };
    match CStr::from_bytes_with_nul(name) {
        Ok(name) => name,
        Err(_) => c"",
    }
};

/// Opens the share library if the environment asks for it. Only from our own constructor. A set-user-id program has no such
/// environment.
pub(crate) fn open() {
    if system::variable(c"SSLSWEEP_SHARE").is_none() || options::get().disable {
        return;
    }
    let Some(address) = libssl::open_beside_us(NAME, sslsweep_share_table::OPEN) else {
        let name = report::Text(NAME);
        return report::line(format_args!("no sharing: {name} cannot be opened, or is none"));
    };
    // SAFETY: the one function that the share library exports, under its name.
    let open: Option<Open> = unsafe { libssl::function(address) };
    // (The version stands first in every version of the table.)
    match open.and_then(|open| open(&CORE)) {
        Some(share) if share.version == VERSION => {
            let _ = SHARE.set(share);
        }
        Some(share) => report::line(format_args!(
            "no sharing: {} is version {}, and this is {}",
            report::Text(NAME),
            share.version.split(|&byte| byte == 0).next().unwrap_or_default().escape_ascii(),
            env!("CARGO_PKG_VERSION"),
        )),
        // It has said why.
        None => {}
    }
}

extern "C" fn find(libssl: usize, name: *const c_char) -> *mut c_void {
    // SAFETY: a string.
    let name = unsafe { CStr::from_ptr(name) };
    libssl::by_index(libssl).map_or(ptr::null_mut(), |libssl| libssl.own_function(name))
}

extern "C" fn report_line(text: *const u8, length: usize) {
    // SAFETY: a text of this length.
    let text = unsafe { std::slice::from_raw_parts(text, length) };
    report::line(String::from_utf8_lossy(text));
}

extern "C" fn event(number: u32) {
    if let Some(event) = Event::from_number(number) {
        crate::published::shared(event);
    }
}

/// What the share library knows of one context.
#[derive(Debug)]
pub(crate) struct Sharing {
    share: &'static Share,
    state: NonNull<State>,
    /// The context ends, and forgets nothing.
    closed: AtomicBool,
}

// SAFETY: the state may be used from any thread.
unsafe impl Send for Sharing {}
// SAFETY: at once as well.
unsafe impl Sync for Sharing {}

impl Drop for Sharing {
    fn drop(&mut self) {
        // SAFETY: the state is used no more.
        unsafe { (self.share.end)(self.state.as_ptr()) };
    }
}

/// Makes a session id, as libssl would, that the fleet knows if the context shares. Returns whether libcrypto's generator has
/// worked.
pub(crate) fn make_id(libssl: &Libssl, sharing: Option<&Sharing>, id: &mut [u8]) -> bool {
    let Some(share) = SHARE.get() else { return false };
    let state = sharing.map_or(ptr::null_mut(), |sharing| sharing.state.as_ptr());
    // SAFETY: the state is alive, if there is one; room of this length.
    unsafe { (share.make_id)(state, libssl.index, id.as_mut_ptr(), id.len()) }
}

/// A session of which nothing is known.
const NOTHING: Resumed = {
    let origin = Origin { home: 0, number: 0, time: 0, epoch: 0 };
    Resumed { session: 0, origin, fetched: false, trust: [0; 32] }
};

impl Sharing {
    /// For a context that has just been made; `None` if it never shares.
    pub(crate) fn begin(
        libssl: &Libssl,
        ctx: CtxRef<'_>,
        library: *mut OSSL_LIB_CTX,
    ) -> Option<Box<Self>> {
        let share = SHARE.get()?;
        let state = (share.begin)(libssl.index, ctx.as_ptr().cast(), library.cast());
        let state = NonNull::new(state)?;
        // On the heap, so that a context that does not share stays small (C20).
        memory::boxed(Self { share, state, closed: AtomicBool::new(false) })
    }

    /// A connection of the context is about to be made.
    pub(crate) fn before_connection(&self) {
        // SAFETY: the state is alive.
        unsafe { (self.share.before_connection)(self.state.as_ptr()) };
    }

    /// The context stands aside from now on.
    pub(crate) fn stand_aside(&self, why: Event) {
        // SAFETY: the state is alive, here and below.
        unsafe { (self.share.stand_aside)(self.state.as_ptr(), why.number()) };
    }

    /// The program has set a servername callback, or none.
    pub(crate) fn set_names(&self, names: bool) {
        // SAFETY: as above.
        unsafe { (self.share.set_names)(self.state.as_ptr(), names) };
    }

    /// Returns whether the share library makes the ids of the context's sessions, where the program does not.
    pub(crate) fn makes_ids(&self) -> bool {
        // SAFETY: as above.
        unsafe { (self.share.makes_ids)(self.state.as_ptr()) }
    }

    /// The session for this id, for a connection of this libssl whose hello is being read. With `single_use` nobody else gets it.
    /// `questions` is called if the fleet is to be asked.
    pub(crate) fn fetch(
        &self,
        libssl: &'static Libssl,
        ssl: SslRef<'_>,
        id: &[u8],
        single_use: bool,
        questions: QuestionsOf,
    ) -> Option<(Session, Resumed)> {
        let mut resumed = NOTHING;
        let (state, ssl) = (self.state.as_ptr(), ssl.as_ptr().cast());
        // SAFETY: as above; a live connection, and an id of this length.
        let session = unsafe {
            let (start, length) = (id.as_ptr(), id.len());
            (self.share.fetch)(state, ssl, start, length, single_use, questions, &mut resumed)
        };
        // SAFETY: the caller's reference.
        let session = unsafe { Session::adopt(libssl, session.cast()) }?;
        Some((session, resumed))
    }

    /// What is to be noted of a session of the context's own that a connection is about to resume.
    pub(crate) fn found(&self, session: &Session) -> Resumed {
        let mut resumed = NOTHING;
        let session = session.get().any().as_ptr().cast();
        // SAFETY: as above; a live session.
        unsafe { (self.share.found)(self.state.as_ptr(), session, &mut resumed) };
        resumed
    }

    /// Publishes a session that a handshake has made. `current` belongs to the connection's present context.
    pub(crate) fn publish(
        &self,
        current: Option<&Self>,
        ssl: SslRef<'_>,
        session: SessionRef<'_>,
        single_use: bool,
        resumed: Option<&Resumed>,
    ) -> Publication {
        let current = current.map_or(ptr::null_mut(), |current| current.state.as_ptr());
        let (ssl, session) = (ssl.as_ptr().cast(), session.any().as_ptr().cast());
        // SAFETY: as above; a live connection and session.
        unsafe {
            (self.share.publish)(self.state.as_ptr(), current, ssl, session, single_use, resumed)
        }
    }

    /// Returns whether the trust of a fetched session holds, after the servername callback.
    pub(crate) fn confirm(
        &self,
        current: Option<&Self>,
        ssl: SslRef<'_>,
        resumed: &Resumed,
    ) -> bool {
        let current = current.map_or(ptr::null_mut(), |current| current.state.as_ptr());
        // SAFETY: as above; a live connection.
        unsafe { (self.share.confirm)(self.state.as_ptr(), current, ssl.as_ptr().cast(), resumed) }
    }

    /// The context ends: what its sessions go through from now on is of no interest to others.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A session was removed, which was `stored` by the context itself or not.
    pub(crate) fn forget(&self, session: SessionRef<'_>, stored: bool) {
        let (version, id) = (session.version(), session.id());
        self.forget_key(version, id, session.expiry().seconds(), stored);
    }

    /// The same by version and id.
    pub(crate) fn forget_key(&self, version: c_int, id: &[u8], expiry: i64, stored: bool) {
        if self.is_closed() {
            return;
        }
        let state = self.state.as_ptr();
        // SAFETY: as above; an id of this length.
        unsafe { (self.share.forget)(state, version, id.as_ptr(), id.len(), expiry, stored) };
    }

    /// Returns whether somebody has removed this session, which the context has stored itself.
    pub(crate) fn is_gone(&self, ssl: SslRef<'_>, session: SessionRef<'_>) -> bool {
        let (ssl, session) = (ssl.as_ptr().cast(), session.any().as_ptr().cast());
        // SAFETY: as above; a live connection and session.
        unsafe { (self.share.is_gone)(self.state.as_ptr(), ssl, session) }
    }

    /// A stored session expires at another time.
    pub(crate) fn re_expire(&self, session: SessionRef<'_>) {
        // SAFETY: as above; a live session.
        unsafe { (self.share.re_expire)(self.state.as_ptr(), session.any().as_ptr().cast()) };
    }

    /// The context has flushed what expires before this time.
    pub(crate) fn flushed(&self, before: i64) {
        if self.is_closed() {
            return;
        }
        // SAFETY: as above.
        unsafe { (self.share.flushed)(self.state.as_ptr(), before) };
    }
}
