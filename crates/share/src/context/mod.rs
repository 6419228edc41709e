//! One context: what it publishes ([`publishing`]), fetches ([`fetching`]) and removes ([`removing`]). In doubt it does nothing, and a
//! full handshake follows.

mod fetching;
mod publishing;
mod removing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sslsweep_seal::{ID, Keys, Refusal};
use sslsweep_segment::Record;
use sslsweep_share_table::{Event, Origin};

use crate::contents::{self, Contents};
use crate::flushed::Flushed;
use crate::key::Key;
use crate::openssl::{Api, Certificates, Connection, Ctx, Digest, Latest};
use crate::seen::Seen;
use crate::shared::{Shared, now};
use crate::trust;

/// `SSL_version` of a QUIC connection.
const QUIC: i32 = 1;

/// A record is kept no longer, whatever the session's timeout.
const LONGEST: i64 = 7 * 24 * 3600;

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

    /// The origin of what a handshake makes now.
    fn origin(&self) -> Origin {
        Origin {
            home: self.shared.segment.home(),
            number: self.shared.segment.sequence() + 1,
            time: now(),
            epoch: self.shared.epoch(),
        }
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
}
