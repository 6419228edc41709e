//! The tables of functions that the core and the share library give each other.
//!
//! Objects of OpenSSL are passed as the pointers that libssl itself passes. All are alive during a call. A libssl is told by its
//! number among those of the process.

use std::ffi::{c_char, c_int, c_uchar, c_void};

/// The version of both libraries. They refuse each other unless theirs are equal.
pub const VERSION: [u8; 16] = {
    let text = env!("CARGO_PKG_VERSION").as_bytes();
    let mut version = [0; 16];
    let mut at = 0;
    while at < text.len() {
        version[at] = text[at];
        at += 1;
    }
    version
};

/// The name of the one function that the share library exports: an [`Open`].
pub const OPEN: &std::ffi::CStr = c"sslsweep_share";

/// Opens the share library, with what the environment asks for. NULL if nothing is to be shared, which it has told by
/// [`Core::report`] then. Called once, from the core's constructor. Both tables stay for good.
pub type Open = extern "C" fn(core: &'static Core) -> Option<&'static Share>;

/// What the core does for the share library.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Core {
    /// See [`VERSION`]: it stays first in every version.
    pub version: [u8; 16],
    /// The function of this name of a libssl, or of its libcrypto; NULL if there is none. Takes no lock.
    pub find: extern "C" fn(libssl: usize, name: *const c_char) -> *mut c_void,
    /// Writes a line on standard error, of text in UTF-8.
    pub report: extern "C" fn(text: *const u8, length: usize),
    /// Counts an event, by its number.
    pub event: extern "C" fn(event: u32),
}

/// What the share library knows of one context.
#[derive(Debug)]
#[repr(C)]
pub struct State {
    _opaque: [u8; 0],
}

/// What a connection has asked the fleet since a hello.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Questions {
    /// The beginning of the hello's random bytes. (A second hello of the same handshake has the same.)
    pub hello: u64,
    /// Questions.
    pub asked: u8,
    /// Answers that were waited for.
    pub waits: u8,
}

/// What a connection of this libssl has asked the fleet: the connection's own, all zero at first, until the connection ends. NULL
/// if there is no memory for that.
pub type QuestionsOf = unsafe extern "C" fn(libssl: usize, ssl: *mut c_void) -> *mut Questions;

/// The full handshake that a session comes from, which others may have resumed since.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// The segment in which it was published first; 0: it is not known, and the session comes from no record.
    pub home: u64,
    /// Its number among the records of that segment; 0 if it is not known, as of a session that was found locally.
    pub number: u64,
    /// When it was published first, in seconds since the epoch.
    pub time: i64,
    /// The epoch of that segment then.
    pub epoch: u64,
}

/// A session that a connection resumes, until its handshake ends.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// The session's address.
    pub session: usize,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it was fetched, and its trust must hold after the servername callback.
    pub fetched: bool,
    /// Its trust.
    pub trust: [u8; 32],
}

/// The result of [`Share::publish`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It is in the segment.
    Published,
    /// It is not.
    Not,
    /// It is not, and nobody may resume it, the context neither: it follows from one that was revoked meanwhile.
    Revoked,
}

/// What the share library does for the core. (`bench/sharing.c` has the beginning of this table.)
///
/// No function runs a callback of the program. None makes a system call but [`Share::begin`], and none waits; with the exception
/// of [`Share::fetch`], if the operator has set `SSLSWEEP_SHARE_WAIT`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// See [`VERSION`]: it stays first in every version.
    pub version: [u8; 16],
    /// A context was made, of this libssl and this library context of libcrypto's (NULL: the default one). NULL if it never
    /// shares.
    pub begin: extern "C" fn(libssl: usize, ctx: *mut c_void, library: *mut c_void) -> *mut State,
    /// The context ends. Its sessions stay in the segment.
    pub end: unsafe extern "C" fn(state: *mut State),
    /// A connection of the context is about to be made. Now is the time to look at the context's certificate: the program may
    /// replace it while handshakes run, but not meanwhile.
    pub before_connection: unsafe extern "C" fn(state: *const State),
    /// The context stands aside from now on: an event of [`crate::Kind::Aside`] tells why.
    pub stand_aside: unsafe extern "C" fn(state: *const State, event: u32),
    /// The program has set a servername callback, or none.
    pub set_names: unsafe extern "C" fn(state: *const State, names: bool),
    /// Returns whether the ids of the context's sessions are to be made by [`Share::make_id`], so that the fleet knows its own.
    pub makes_ids: unsafe extern "C" fn(state: *const State) -> bool,
    /// Makes a session id of this length for a connection of this libssl, as libssl would, from libcrypto's generator. Without
    /// a state (NULL) the fleet does not know it. Returns whether that generator has worked.
    pub make_id: unsafe extern "C" fn(
        state: *const State,
        libssl: usize,
        id: *mut c_uchar,
        length: usize,
    ) -> bool,
    /// The session for this id, and what is to be noted of it; NULL if there is none for this connection. With
    /// `single_use` nobody else gets it again. The caller owns one reference. `questions` is called if the fleet is to be asked.
    pub fetch: unsafe extern "C" fn(
        state: *const State,
        ssl: *mut c_void,
        id: *const c_uchar,
        length: usize,
        single_use: bool,
        questions: QuestionsOf,
        resumed: &mut Resumed,
    ) -> *mut c_void,
    /// What is to be noted of a stored session that a connection is about to resume.
    pub found:
        unsafe extern "C" fn(state: *const State, session: *mut c_void, resumed: &mut Resumed),
    /// Publishes a session that a handshake of this connection has made. `current` is the state of the connection's present
    /// context (NULL if that is not taken over), and `resumed` the session that the connection has resumed.
    pub publish: unsafe extern "C" fn(
        state: *const State,
        current: *const State,
        ssl: *mut c_void,
        session: *mut c_void,
        single_use: bool,
        resumed: Option<&Resumed>,
    ) -> Publication,
    /// Returns whether the trust of a fetched session holds, after the servername callback.
    pub confirm: unsafe extern "C" fn(
        state: *const State,
        current: *const State,
        ssl: *mut c_void,
        resumed: &Resumed,
    ) -> bool,
    /// A session was removed, which expires at this time: nobody gets it any more. One that the context had not `stored`
    /// itself may be that of a client, and counts only if it is in the segment as a session of such a context.
    pub forget: unsafe extern "C" fn(
        state: *const State,
        version: c_int,
        id: *const c_uchar,
        length: usize,
        expiry: i64,
        stored: bool,
    ),
    /// Returns whether somebody has removed this session, alone or with all others, which the context has stored itself and this
    /// connection wants to resume.
    pub is_gone:
        unsafe extern "C" fn(state: *const State, ssl: *mut c_void, session: *mut c_void) -> bool,
    /// A stored session expires at another time: if that is earlier, nobody gets it any more after that.
    pub re_expire: unsafe extern "C" fn(state: *const State, session: *mut c_void),
    /// The context has flushed what expires before this time: it never gets any of that again that was published until now.
    pub flushed: unsafe extern "C" fn(state: *const State, before: i64),
}
