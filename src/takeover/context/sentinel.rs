//! A context's sentinel: a session of ours in its real internal cache, whose removal tells that libssl flushes or frees
//! the context past us (`takeover::lifetime`).

use std::ffi::c_long;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::libssl::{Libssl, Session};
use crate::stack::this_thread;
use crate::sync::Mutex;

/// The id of sentinels; with version 0 no session of a connection can have their key.
const ID: &[u8; 32] = b"sslsweep: this context is in use";

/// When sentinels expire, in seconds: in 2514, later than whatever a flush by time removes. OpenSSL 3.2 and later
/// cannot hold much more, as their times are nanoseconds in 64 bits.
const EXPIRY: c_long = c_long::MAX >> c_long::BITS.saturating_sub(35);

#[derive(Debug, Default)]
pub(crate) struct Sentinel {
    session: Mutex<Option<Session>>,
    stands: AtomicBool,
    /// The thread that flushes or frees the context past us, and up to 3.6.3 holds its lock; or 0.
    fell: AtomicUsize,
}

impl Sentinel {
    /// Makes a sentinel for the caller to plant, unless there is one. Out of memory, returns `None` as well.
    pub(super) fn make(&self, libssl: &'static Libssl) -> Option<Session> {
        if self.stands.load(Ordering::Acquire) || self.has_fallen_here() {
            return None;
        }
        let made = Session::with_key(libssl, 0, ID)?;
        made.get().set_time(0);
        made.get().set_timeout(EXPIRY);
        let mut place = self.session.lock();
        if place.is_some() {
            drop(place);
            return None;
        }
        *place = Some(made.clone());
        self.stands.store(true, Ordering::Release);
        Some(made)
    }

    /// Takes the sentinel, if it is the wanted one.
    pub(crate) fn take(&self, is_it: impl Fn(&Session) -> bool) -> Option<Session> {
        let mut place = self.session.lock();
        let taken = place.take_if(|planted| is_it(planted));
        if taken.is_some() {
            self.stands.store(false, Ordering::Release);
        }
        taken
    }

    /// This thread flushes or frees the context past us, and may hold its lock.
    pub(crate) fn fall_here(&self) {
        self.fell.store(this_thread(), Ordering::Release);
    }

    pub(super) fn has_fallen_here(&self) -> bool {
        let fell = self.fell.load(Ordering::Acquire);
        fell != 0 && fell == this_thread()
    }

    /// The context is in use again, until the next store without a sentinel.
    pub(crate) fn rise(&self) {
        self.fell.store(0, Ordering::Release);
    }
}
