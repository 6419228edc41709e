//! One context: what it publishes and fetches. In doubt it does neither, and a full handshake follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sslsweep_seal::{FOREIGN, ID, Keys, Refusal, SINGLE_USE};
use sslsweep_segment::{Answer, Moment, ROOM as RECORD, Record, Refused};
use sslsweep_share_table::{Event, Origin, Publication, Questions, QuestionsOf, Resumed};
use zeroize::Zeroizing;

use crate::contents::{self, Contents};
use crate::flushed::Flushed;
use crate::key::Key;
use crate::openssl::{
    Api, Certificates, Connection, Ctx, Digest, ENCODED, Latest, Owned, Session,
    has_extended_master_secret,
};
use crate::seen::Seen;
use crate::shared::{Shared, now};
use crate::trust;

/// `SSL_version` of a QUIC connection.
const QUIC: i32 = 1;

/// A record is kept no longer, whatever the session's timeout.
const LONGEST: i64 = 7 * 24 * 3600;

/// The sessions that the fleet is asked for while one hello is read.
const MOST_QUESTIONS: u8 = 2;

/// The answers that are waited for meanwhile.
const MOST_WAITS: u8 = 1;

/// One context.
#[derive(Debug)]
pub(crate) struct Context {
    shared: &'static Shared,
    /// The number of its libssl.
    libssl: usize,
    pub(crate) api: &'static Api,
    ctx: Ctx,
    keys: Arc<Keys>,
    /// libssl's own, which a context begins with.
    security_callback: usize,
    certificates: Certificates,
    own_certificate: Latest,
    /// The program has a servername callback.
    names: AtomicBool,
    seen: Seen,
    flushed: Flushed,
    /// It has published or fetched, so that its sessions are a server's.
    has_shared: AtomicBool,
    /// Events that were counted once, by bit.
    told: AtomicU32,
    aside: AtomicBool,
}

/// The time until which the segment keeps what expires then.
fn kept_until(expiry: i64, now: i64) -> u64 {
    expiry.min(now.saturating_add(LONGEST)).max(now.saturating_add(1)).max(0) as u64
}

/// Returns whether the segment may no longer know that a session was removed that was made then.
fn is_forgotten(made: i64, now: i64) -> bool {
    made.saturating_add(LONGEST) <= now
}

impl Context {
    /// A context that has just been made. `None` if it never shares.
    pub(crate) fn new(
        shared: &'static Shared,
        libssl: usize,
        api: &'static Api,
        ctx: Ctx,
    ) -> Option<Self> {
        if shared.is_excluded {
            shared.count(Event::AsideProgram);
            return None;
        }
        let (keys, flushed) = (shared.keys(), Flushed::new(shared.segment.home()));
        let Some((keys, flushed)) = keys.zip(flushed) else {
            shared.count(Event::AsideOther);
            return None;
        };
        Some(Self {
            shared,
            libssl,
            api,
            ctx,
            keys,
            security_callback: ctx.security_callback(),
            certificates: Certificates::new(api),
            own_certificate: Latest::new(api),
            names: AtomicBool::new(false),
            seen: Seen::default(),
            flushed,
            has_shared: AtomicBool::new(false),
            told: AtomicU32::new(0),
            aside: AtomicBool::new(false),
        })
    }

    pub(crate) fn set_names(&self, names: bool) {
        self.names.store(names, Ordering::Release);
    }

    pub(crate) fn before_connection(&self) {
        self.own_certificate.look(self.ctx, &self.certificates);
    }

    /// The context neither publishes nor fetches from now on.
    pub(crate) fn stand_aside(&self, why: Event) {
        self.aside.store(true, Ordering::Release);
        self.tell_once(why);
    }

    fn tell_once(&self, event: Event) {
        let bit = 1 << event.number();
        if self.told.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            self.shared.count(event);
        }
    }

    fn is_aside(&self) -> bool {
        self.aside.load(Ordering::Acquire)
    }

    /// Returns whether connections of this kind share; else why not.
    fn may_share(&self, connection: Connection<'_>) -> Result<(), Event> {
        if connection.security_callback() != self.security_callback {
            self.stand_aside(Event::AsideSecurity);
        }
        if self.is_aside() || connection.version() == QUIC {
            return Err(Event::ContextAside);
        }
        if connection.asks_for_certificate() {
            self.tell_once(Event::AsideClientAuthentication);
            return Err(Event::ClientAuthentication);
        }
        Ok(())
    }

    fn entrance(&self, name: Option<&[u8]>) -> Digest {
        trust::entrance(self.api, self.own_certificate.digest(), name)
    }

    fn outcome(&self, connection: Connection<'_>) -> Option<Digest> {
        trust::outcome(self.api, connection, &self.certificates)
    }

    fn get(&self, key: &Key) -> Option<Record> {
        self.shared.segment.get(key.name(), now().max(0) as u64)
    }

    /// Opens a record. Returns its flags and contents.
    fn open<'a>(
        &self,
        key: &Key,
        record: &Record,
        bytes: &'a mut contents::Bytes,
    ) -> Result<(u8, Contents<'a>), Refusal> {
        let opened = self.keys.open(&key.name, key.associated(), record.bytes(), &mut bytes[..])?;
        let contents = Contents::read(&bytes[..opened.length]).ok_or(Refusal::Form)?;
        Ok((opened.flags, contents))
    }

    // --- Ids ---------------------------------------------------------------------------------

    /// See [`sslsweep_share_table::Share::makes_ids`].
    pub(crate) fn makes_ids(&self) -> bool {
        self.shared.has_fleet
    }

    /// Makes a session id of this length: see [`sslsweep_share_table::Share::make_id`].
    pub(crate) fn make_id(&self, id: &mut [u8]) -> bool {
        let has_worked = self.ctx.random(id);
        if let Some(random) = id.first_chunk().filter(|_| id.len() == ID) {
            id.copy_from_slice(&self.keys.make_id(random));
        }
        has_worked
    }

    // --- Fetching ----------------------------------------------------------------------------

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
        // What this machine has removed the fleet does not give back.
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
        let epoch = if time <= self.shared.gone_until() { 0 } else { origin.epoch };
        // Who else has resumed it before is not known, so the number is none: every flush hides what follows from it.
        let origin = Origin { number: 0, time, epoch, ..origin };
        Resumed { session: session.address(), origin, fetched: false, trust: [0; 32] }
    }

    /// The origin of what a handshake makes now.
    fn origin(&self) -> Origin {
        Origin {
            home: self.shared.segment.home(),
            number: self.shared.segment.sequence() + 1,
            time: now(),
            epoch: self.shared.epoch(),
        }
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

    // --- Publishing --------------------------------------------------------------------------

    /// Publishes a session that a handshake of this connection has made.
    pub(crate) fn publish(
        &self,
        current: Option<&Self>,
        connection: Connection<'_>,
        session: Session<'_>,
        single_use: bool,
        resumed: Option<&Resumed>,
    ) -> Publication {
        if !connection.is_server() {
            return Publication::Not;
        }
        if self.is_revoked(connection, resumed) {
            self.shared.count(Event::Unsuitable);
            return Publication::Revoked;
        }
        let result = self.try_publish(current, connection, session, single_use, resumed);
        self.shared.count(result.err().unwrap_or(Event::Published));
        if result.is_ok() { Publication::Published } else { Publication::Not }
    }

    /// Returns whether a revocation, or a gap, has come since this connection chose the session that it resumes.
    fn is_revoked(&self, connection: Connection<'_>, resumed: Option<&Resumed>) -> bool {
        let resumed = resumed.filter(|_| connection.is_resumed());
        // (The sessions of contexts that do not share are not revoked: as for `is_gone`.)
        resumed.is_some_and(|resumed| {
            self.shared.check_origin(&resumed.origin).is_err() && self.may_share(connection).is_ok()
        })
    }

    fn try_publish(
        &self,
        current: Option<&Self>,
        connection: Connection<'_>,
        session: Session<'_>,
        single_use: bool,
        resumed: Option<&Resumed>,
    ) -> Result<(), Event> {
        let key = Key::new(session.version(), session.id()).ok_or(Event::Unsuitable)?;
        self.may_share(connection)?;
        if current.is_none_or(Self::is_aside) {
            return Err(Event::ContextAside);
        }
        // A pre-shared key that is no session resumes, to libssl, like one.
        let is_resumed = connection.is_resumed();
        let is_other_key = connection.is_tls13() && is_resumed && resumed.is_none();
        if session.has_peer() || is_other_key || !connection.is_by_certificate_alone() {
            return Err(Event::ClientAuthentication);
        }
        let (now, expiry) = (now(), session.expiry());
        if !session.is_resumable()
            || expiry <= now
            || session.is_compressed()
            || connection.has_renegotiated()
            || !session.is_plain()
        {
            return Err(Event::Unsuitable);
        }
        let name = connection.server_name();
        let entrance = self.entrance(name);
        let outcome = self.outcome(connection).ok_or(Event::Unsuitable)?;
        if !is_resumed {
            self.seen.note(name, outcome);
        }
        let mut encoded = Zeroizing::new([0; ENCODED]);
        let length = session.encode(&mut encoded).ok_or(Event::TooLarge)?;
        let contents = Contents {
            entrance,
            outcome,
            expiry,
            // (One that is resumed and of which nothing is known has none: it is refused at the first flush or gap.)
            origin: match is_resumed {
                true => resumed.map_or_else(Origin::default, |resumed| resumed.origin),
                false => self.origin(),
            },
            session: &encoded[..length],
        };
        // Early data is replayed on this machine only, where the program permits it.
        let is_replayed = !single_use && connection.is_tls13() && connection.takes_early_data();
        let stays = self.shared.has_fleet && (is_replayed || !self.keys.is_ours(session.id()));
        let flags = (u8::from(single_use) * SINGLE_USE) | (u8::from(stays) * FOREIGN);
        self.put(&key, flags, &contents)?;
        self.has_shared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Seals contents and puts them into the segment.
    fn put(&self, key: &Key, flags: u8, contents: &Contents<'_>) -> Result<(), Event> {
        let mut bytes = contents::Bytes::new([0; contents::ROOM]);
        let length = contents.write(&mut bytes).ok_or(Event::TooLarge)?;
        let mut record = [0; RECORD];
        let sealed =
            self.keys.seal(flags, &key.name, key.associated(), &bytes[..length], &mut record);
        let record = &record[..sealed.ok_or(Event::TooLarge)?];
        let (now, segment) = (now(), &self.shared.segment);
        let until = kept_until(contents.expiry, now);
        let put = segment.put(key.name(), record, until, now.max(0) as u64);
        let put = put.map_err(|refused| match refused {
            Refused::TooLarge => Event::TooLarge,
            Refused::Dead | Refused::Expired => Event::Unsuitable,
            Refused::Full | Refused::Contended => Event::NoRoom,
        })?;
        if put.evicted {
            self.shared.count(Event::Evicted);
        }
        Ok(())
    }

    // --- Removing ----------------------------------------------------------------------------

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
            None if self.may_be_elsewhere(&key, id) => self.make_dead(&key, id, i64::MAX),
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
        is_gone || is_forgotten(made, now) || gone_until > 0 && made <= gone_until
    }

    /// A stored session expires at another time. If that is earlier, its record is made anew.
    pub(crate) fn re_expire(&self, session: Session<'_>) {
        if !self.has_shared.load(Ordering::Relaxed) {
            return;
        }
        let Some(key) = Key::new(session.version(), session.id()) else { return };
        let mut bytes = contents::Bytes::new([0; contents::ROOM]);
        let Some(record) = self.get(&key) else { return };
        let Ok((flags, contents)) = self.open(&key, &record, &mut bytes) else { return };
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
