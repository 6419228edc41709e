//! Publishing: which sessions are put into the segment.

use std::sync::atomic::Ordering;

use sslsweep_seal::{FOREIGN, SINGLE_USE};
use sslsweep_segment::{ROOM as RECORD, Refused};
use sslsweep_share_table::{Event, Origin, Publication, Resumed};
use zeroize::Zeroizing;

use super::{Context, kept_until};
use crate::contents::{self, Contents};
use crate::key::Key;
use crate::openssl::{Connection, ENCODED, Session};
use crate::shared::now;

impl Context {
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
    pub(super) fn put(&self, key: &Key, flags: u8, contents: &Contents<'_>) -> Result<(), Event> {
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
}
