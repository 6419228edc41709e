//! Fetching: what must hold before a session from the segment is resumed, and questions to the fleet.

use std::sync::atomic::Ordering;

use sslsweep_seal::SINGLE_USE;
use sslsweep_segment::{Answer, Moment};
use sslsweep_share_table::{Event, Origin, Questions, QuestionsOf, Resumed};

use super::Context;
use super::removing::is_of_before;
use crate::contents;
use crate::key::Key;
use crate::openssl::{Connection, Owned, Session, has_extended_master_secret};
use crate::shared::now;

/// The sessions that the fleet is asked for while one hello is read.
const MOST_QUESTIONS: u8 = 2;

/// The answers that are waited for meanwhile.
const MOST_WAITS: u8 = 1;

impl Context {
    /// The session for this id, for a connection whose hello is being read.
    pub(crate) fn fetch(
        &self,
        connection: Connection<'_>,
        id: &[u8],
        single_use: bool,
        questions: QuestionsOf,
    ) -> Option<(Owned, Resumed)> {
        // (Not counted: nothing was asked.)
        self.may_share(connection).ok().filter(|()| !connection.renegotiates())?;
        let fetched = self.try_fetch(connection, id, single_use, questions);
        self.shared.count(match &fetched {
            Ok(_) => Event::Fetched,
            Err(event) => *event,
        });
        fetched.ok()
    }

    fn try_fetch(
        &self,
        connection: Connection<'_>,
        id: &[u8],
        single_use: bool,
        questions: QuestionsOf,
    ) -> Result<(Owned, Resumed), Event> {
        let key = Key::new(connection.version(), id).ok_or(Event::Absent)?;
        let record = self.get(&key).or_else(|| {
            // No session leaves a machine that is to be used but once.
            let answered = !single_use && self.ask(connection, &key, id, questions);
            answered.then(|| self.get(&key)).flatten()
        });
        let record = record.ok_or(Event::Absent)?;
        let mut bytes = contents::Bytes::new([0; contents::ROOM]);
        let (flags, contents) =
            self.open(&key, &record, &mut bytes).map_err(|_| Event::RefusedSealed)?;
        if contents.expiry <= now() {
            return Err(Event::RefusedExpired);
        }
        let single_use = single_use || flags & SINGLE_USE != 0;
        if single_use && contents.origin.home != self.shared.segment.home() {
            return Err(Event::RefusedSingleUse);
        }
        self.shared.check_origin(&contents.origin)?;
        let name = connection.hello_name();
        let expected = match self.names.load(Ordering::Acquire) {
            true => self.seen.outcome(name),
            false => self.outcome(connection),
        };
        if expected != Some(contents.outcome) || self.entrance(name) != contents.entrance {
            return Err(Event::RefusedTrust);
        }
        if self.flushed.hides(contents.expiry, &contents.origin) {
            return Err(Event::RefusedFlushed);
        }
        let has = has_extended_master_secret(contents.session).ok_or(Event::RefusedDecode)?;
        if !connection.is_tls13() && has != connection.wants_extended_master_secret() {
            return Err(Event::RefusedEms);
        }
        let session = Owned::decode(self.api, contents.session).ok_or(Event::RefusedDecode)?;
        let decoded = session.get();
        let is_it = decoded.version() == connection.version() && decoded.id() == id;
        if !is_it || decoded.is_compressed() || decoded.has_peer() || !decoded.is_resumable() {
            return Err(Event::RefusedDecode);
        }
        // libssl ends a handshake whose session does not fit the hello.
        let offered = decoded.cipher().is_some_and(|cipher| connection.offers_cipher(cipher));
        if !connection.is_tls13() && !offered {
            return Err(Event::RefusedCipher);
        }
        if decoded.fragment_length() != connection.fragment_length() {
            return Err(Event::RefusedEms);
        }
        // Last: from here on nobody else gets it.
        if single_use {
            let taken = self.shared.segment.take(key.name(), now().max(0) as u64);
            if taken.is_none_or(|taken| taken.bytes() != record.bytes()) {
                return Err(Event::Absent);
            }
            self.shared.count(Event::Taken);
        }
        self.has_shared.store(true, Ordering::Relaxed);
        let (origin, trust) = (contents.origin, contents.outcome);
        let resumed = Resumed { session: decoded.address(), origin, fetched: true, trust };
        Ok((session, resumed))
    }

    /// Asks the fleet for a session that this machine has not, in the bounds of a hello. Returns whether to look again.
    fn ask(
        &self,
        connection: Connection<'_>,
        key: &Key,
        id: &[u8],
        questions: QuestionsOf,
    ) -> bool {
        let segment = &self.shared.segment;
        // A session that was removed here is not fetched again.
        if !segment.can_ask() || segment.is_gone(key.name(), now().max(0) as u64) {
            return false;
        }
        // First, as what follows may take memory for the connection.
        if !self.keys.is_ours(id) {
            self.shared.count(Event::Foreign);
            return false;
        }
        let ask = |asked: &mut Questions| self.ask_within(asked, key);
        // SAFETY: the core's, for this context's libssl.
        unsafe { connection.questions(self.libssl, questions, ask) }.unwrap_or(false)
    }

    fn ask_within(&self, bounds: &mut Questions, key: &Key) -> bool {
        let (shared, segment) = (self.shared, &self.shared.segment);
        if bounds.asked >= MOST_QUESTIONS {
            return false;
        }
        let Some(question) = segment.ask(key.name()) else { return false };
        bounds.asked += 1;
        shared.count(Event::Asked);
        if shared.wait.is_zero() || bounds.waits >= MOST_WAITS {
            return false;
        }
        bounds.waits += 1;
        let now = Moment::now();
        let answer = segment.wait(question, now, now.after(shared.wait));
        shared.count(match answer {
            Answer::Met => Event::Answered,
            Answer::Missed => Event::Missed,
            Answer::Open => Event::Skipped,
        });
        answer == Answer::Met
    }

    /// See [`sslsweep_share_table::Share::found`].
    pub(crate) fn found(&self, session: Session<'_>) -> Resumed {
        // The epoch first: what is revoked after that is refused by it.
        let origin = self.origin();
        let time = session.time();
        // A session has no epoch: one of before the last revocation was made in an earlier one.
        let is_old = is_of_before(time, self.shared.gone_until(), now());
        let epoch = if is_old { 0 } else { origin.epoch };
        // Other processes may have resumed it before. With the number 0 every flush hides the sessions that follow from it.
        let origin = Origin { number: 0, time, epoch, ..origin };
        Resumed { session: session.address(), origin, fetched: false, trust: [0; 32] }
    }

    /// Returns whether the trust of a fetched session holds now that the servername callback has run. `current` is the
    /// connection's context by now.
    pub(crate) fn confirm(
        &self,
        current: Option<&Self>,
        connection: Connection<'_>,
        resumed: &Resumed,
    ) -> bool {
        // libssl may have had no use for it: a new session may lie at its address by now.
        let is_it = connection.is_resumed() && connection.session() == resumed.session;
        if !resumed.fetched || !is_it {
            return true;
        }
        let holds = self.may_share(connection).is_ok()
            && current.is_some_and(|current| !current.is_aside())
            && self.outcome(connection) == Some(resumed.trust);
        if !holds {
            // The client's next try is a full handshake.
            self.seen.forget();
            self.shared.count(Event::Alert);
        }
        holds
    }
}
