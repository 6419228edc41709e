//! Removing: what the segment remembers of sessions that are gone.

use std::sync::atomic::Ordering;

use sslsweep_share_table::Event;
use zeroize::Zeroizing;

use super::{Context, LONGEST, kept_until};
use crate::contents::{self, Contents};
use crate::key::Key;
use crate::openssl::{Connection, ENCODED, Session};
use crate::shared::now;

/// Returns whether the segment may no longer know that a session was removed that was made then.
fn is_forgotten(made: i64, now: i64) -> bool {
    made.saturating_add(LONGEST) <= now
}

/// Returns whether what was made then was made before everything up to a time was given up; 0: nothing was. What was made
/// in the future was made before the clock was set back.
pub(crate) fn is_of_before(made: i64, gone_until: i64, now: i64) -> bool {
    gone_until > 0 && (made <= gone_until || made > now)
}

impl Context {
    /// A session was removed: see [`sslsweep_share_table::Share::forget`].
    pub(crate) fn forget(&self, version: i32, id: &[u8], expiry: i64, stored: bool) {
        if !self.has_shared.load(Ordering::Relaxed) {
            return;
        }
        let Some(key) = Key::new(version, id) else { return };
        if stored {
            return self.make_dead(&key, id, expiry);
        }
        match self.has_record(&key) {
            Some(true) => self.make_dead(&key, id, expiry),
            // The session's life may have been made shorter when its record had left. It was that of a new session at most.
            None if self.may_be_elsewhere(&key, id) => {
                let longest = now().saturating_add(self.ctx.timeout());
                self.make_dead(&key, id, longest.max(expiry));
            }
            _ => {}
        }
    }

    /// Returns whether the fleet may have a session of which there is no record: it was evicted here, not removed.
    fn may_be_elsewhere(&self, key: &Key, id: &[u8]) -> bool {
        let segment = &self.shared.segment;
        let is_dead = || segment.is_dead(key.name(), now().max(0) as u64);
        segment.has_agent() && !is_dead() && self.keys.is_ours(id)
    }

    /// Returns whether our keys open the record under this key, if there is one.
    fn has_record(&self, key: &Key) -> Option<bool> {
        let mut bytes = contents::Bytes::new([0; contents::ROOM]);
        let record = self.get(key)?;
        Some(self.open(key, &record, &mut bytes).is_ok())
    }

    /// Returns whether somebody has removed a session that the context has stored itself: alone, which the segment remembers
    /// until its time is over, or with all others of its time.
    pub(crate) fn is_gone(&self, connection: Connection<'_>, session: Session<'_>) -> bool {
        let key = Key::new(connection.version(), session.id());
        let Some(key) = key.filter(|_| self.may_share(connection).is_ok()) else { return false };
        let (gone_until, segment) = (self.shared.gone_until(), &self.shared.segment);
        let (now, made) = (now(), session.time());
        let is_gone = segment.is_gone(key.name(), now.max(0) as u64)
            || segment.is_killed(key.name(), made.max(0) as u64, now.max(0) as u64);
        is_gone || is_forgotten(made, now) || is_of_before(made, gone_until, now)
    }

    /// A stored session expires at another time. An earlier time is put into its record.
    pub(crate) fn re_expire(&self, session: Session<'_>) {
        if !self.has_shared.load(Ordering::Relaxed) {
            return;
        }
        let Some(key) = Key::new(session.version(), session.id()) else { return };
        let mut bytes = contents::Bytes::new([0; contents::ROOM]);
        let Some(record) = self.get(&key) else { return };
        let Ok((flags, contents)) = self.open(&key, &record, &mut bytes) else { return };
        if self.shared.check_origin(&contents.origin).is_err() {
            // The session is older than a loss of removals. A new record of it would go to machines that know of no loss.
            return self.make_dead(&key, session.id(), contents.expiry);
        }
        let expiry = session.expiry();
        if expiry >= contents.expiry {
            return;
        }
        let mut encoded = Zeroizing::new([0; ENCODED]);
        let again = session.encode(&mut encoded).filter(|_| expiry > now()).map(|length| {
            let contents = Contents { expiry, session: &encoded[..length], ..contents };
            self.put(&key, flags, &contents).is_ok()
        });
        if again != Some(true) {
            self.make_dead(&key, session.id(), expiry);
        }
    }

    fn make_dead(&self, key: &Key, id: &[u8], expiry: i64) {
        let (now, segment) = (now(), &self.shared.segment);
        let (until, now) = (kept_until(expiry, now), now.max(0) as u64);
        // No other machine has one whose id the fleet has not made.
        if segment.has_agent() && !self.keys.is_ours(id) {
            segment.forget_here(key.name(), until, now);
        } else {
            segment.forget(key.name(), until, now);
        }
        self.shared.count(Event::Removed);
    }

    /// The context has flushed what expires before this time.
    pub(crate) fn flushed(&self, before: i64) {
        self.flushed.add(before, self.shared.segment.sequence(), now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_nothing_of_before_a_loss_comes_back_when_the_clock_was_set_back() {
        const NOW: i64 = 1_000_000_000;
        assert!([0, NOW - 5, NOW + 1].iter().all(|&made| is_of_before(made, NOW - 5, NOW)));
        assert!([NOW - 4, NOW].iter().all(|&made| !is_of_before(made, NOW - 5, NOW)));
        assert!(!is_of_before(NOW + 1, 0, NOW), "nothing was given up");
    }

    #[test]
    fn s3_a_removal_is_remembered_as_long_as_a_session_is_resumed() {
        const NOW: i64 = 1_000_000_000;
        for made in [NOW - LONGEST + 1, NOW - LONGEST, NOW, i64::MAX] {
            // Removed when it was made, with no end of its own.
            let until = kept_until(i64::MAX, made) as i64;
            assert!(is_forgotten(made, NOW) || until > NOW, "{made}");
        }
        assert!(is_forgotten(NOW - LONGEST, NOW) && is_forgotten(0, NOW));
        assert!(!is_forgotten(NOW - LONGEST + 1, NOW) && !is_forgotten(i64::MAX, NOW));
    }
}
