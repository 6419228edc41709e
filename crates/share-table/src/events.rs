//! The events of sharing that are counted.

/// A kind of event. An operator sees a kind by its name, and the reasons of a kind beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A session was published.
    Published,
    /// A session was not published.
    NotPublished,
    /// A session was fetched.
    Fetched,
    /// No session was there.
    Absent,
    /// A session was there, and was not used.
    Refused,
    /// A single-use session was taken.
    Taken,
    /// A session was removed.
    Removed,
    /// A handshake ended in an alert.
    Alerts,
    /// A context stands aside: it neither publishes nor fetches.
    Aside,
    /// A session left the segment for want of room.
    Evicted,
    /// The fleet was asked for a session.
    Asked,
    /// A handshake would have waited for the fleet's answer.
    Waits,
    /// The fleet was not asked for a session: it has not made the id.
    Foreign,
}

impl Kind {
    /// All of them, in the order of their events.
    pub const ALL: [Kind; 13] = [
        Kind::Published,
        Kind::NotPublished,
        Kind::Fetched,
        Kind::Absent,
        Kind::Refused,
        Kind::Taken,
        Kind::Removed,
        Kind::Alerts,
        Kind::Aside,
        Kind::Evicted,
        Kind::Asked,
        Kind::Waits,
        Kind::Foreign,
    ];

    /// The name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Published => "published",
            Kind::NotPublished => "not_published",
            Kind::Fetched => "fetched",
            Kind::Absent => "absent",
            Kind::Refused => "refused",
            Kind::Taken => "taken",
            Kind::Removed => "removed",
            Kind::Alerts => "alerts",
            Kind::Aside => "aside",
            Kind::Evicted => "evicted",
            Kind::Asked => "asked",
            Kind::Waits => "waits",
            Kind::Foreign => "foreign",
        }
    }

    /// The events of this kind.
    pub fn events(self) -> impl Iterator<Item = Event> + Clone {
        Event::ALL.into_iter().filter(move |event| event.kind() == self)
    }
}

/// The only list of events: number, event, name, kind, reason.
macro_rules! events {
    ($($(#[doc = $about:literal])* $number:literal $event:ident $name:literal $kind:ident $reason:literal;)*) => {
        /// An event of sharing. Its number is part of the interface of the share library, and of the statistics file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Event {
            $($(#[doc = $about])* $event = $number,)*
        }

        impl Event {
            /// All of them, by number.
            pub const ALL: [Event; [$($number),*].len()] = [$(Event::$event),*];

            /// The name, as metrics have it: the kind's and the reason's.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Event::$event => $name,)*
                }
            }

            /// The kind.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Event::$event => Kind::$kind,)*
                }
            }

            /// The reason, as a label of metrics; empty for a kind of one event.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Event::$event => $reason,)*
                }
            }
        }
    };
}

events! {
    /// A session was published.
    0 Published "published" Published "";
    /// Not published: the segment has no room for it.
    1 NoRoom "not_published_no_room" NotPublished "no_room";
    /// Not published: it does not fit into a slot.
    2 TooLarge "not_published_too_large" NotPublished "too_large";
    /// Not published: the connection asks for a client certificate.
    3 ClientAuthentication "not_published_client_authentication" NotPublished "client_authentication";
    /// Not published: its context stands aside.
    4 ContextAside "not_published_context_aside" NotPublished "context_aside";
    /// Not published: it is not resumable or has expired, or the program has attached data to it.
    5 Unsuitable "not_published_unsuitable" NotPublished "unsuitable";
    /// A session was fetched.
    6 Fetched "fetched" Fetched "";
    /// No session was there.
    7 Absent "absent" Absent "";
    /// Refused: it could not be opened (unknown key, tag, form).
    8 RefusedSealed "refused_sealed" Refused "sealed";
    /// Refused: its trust is another.
    9 RefusedTrust "refused_trust" Refused "trust";
    /// Refused: the context has flushed it.
    10 RefusedFlushed "refused_flushed" Refused "flushed";
    /// Refused: it has expired.
    11 RefusedExpired "refused_expired" Refused "expired";
    /// Refused: libssl could not decode it.
    12 RefusedDecode "refused_decode" Refused "decode";
    /// Refused: client and session differ in the extended master secret, or in the maximum fragment length.
    13 RefusedEms "refused_ems" Refused "ems";
    /// Refused: the client does not offer its cipher.
    14 RefusedCipher "refused_cipher" Refused "cipher";
    /// Refused: it was made before a revocation of everything.
    15 RefusedRevoked "refused_revoked" Refused "revoked";
    /// Refused: it was made before removals that the fleet has lost.
    16 RefusedGap "refused_gap" Refused "gap";
    /// Refused: it is to be used but once, and was made on another machine.
    17 RefusedSingleUse "refused_single_use" Refused "single_use";
    /// A single-use session was taken.
    18 Taken "taken" Taken "";
    /// A session was removed.
    19 Removed "removed" Removed "";
    /// A handshake ended in an alert, because the trust of its server name has changed.
    20 Alert "alerts" Alerts "";
    /// A context stands aside: resumption is evidence of identity to the program.
    21 AsideProgram "aside_program" Aside "program";
    /// A context stands aside: it has a client hello callback.
    22 AsideClientHello "aside_client_hello_callback" Aside "client_hello_callback";
    /// A context stands aside: it has a certificate callback.
    23 AsideCertificate "aside_certificate_callback" Aside "certificate_callback";
    /// A context stands aside: it has a security callback.
    24 AsideSecurity "aside_security_callback" Aside "security_callback";
    /// A context stands aside: it asks for client certificates. Counted once for each context.
    25 AsideClientAuthentication "aside_client_authentication" Aside "client_authentication";
    /// A context stands aside for another reason.
    26 AsideOther "aside_other" Aside "other";
    /// A session that was published left the segment, before its time, for another one.
    27 Evicted "evicted" Evicted "";
    /// The fleet was asked for a session.
    28 Asked "asked" Asked "";
    /// A handshake has waited, and the answer came in time.
    29 Answered "waits_answered" Waits "answered";
    /// A handshake has waited until its deadline.
    30 Missed "waits_missed" Waits "missed";
    /// A handshake has not waited, because others have missed their deadlines.
    31 Skipped "waits_skipped" Waits "skipped";
    /// The fleet was not asked: the id is not one of its own.
    32 Foreign "foreign" Foreign "";
}

impl Event {
    /// The event of this number.
    pub fn from_number(number: u32) -> Option<Event> {
        Event::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (place, event) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event.number() as usize, place, "{event:?}");
            assert_eq!(Event::from_number(event.number()), Some(event));
        }
        assert_eq!(Event::from_number(Event::ALL.len() as u32), None);
        assert_eq!(Event::from_number(u32::MAX), None);
    }

    #[test]
    fn a_name_is_kind_and_reason() {
        for event in Event::ALL {
            let (kind, reason) = (event.kind().name(), event.reason());
            let joined = if reason.is_empty() { kind.into() } else { format!("{kind}_{reason}") };
            assert_eq!(event.name(), joined, "{event:?}");
            let alone = event.kind().events().count() == 1;
            assert_eq!(reason.is_empty(), alone, "{event:?}: several of a kind have reasons");
        }
    }

    #[test]
    fn kinds_in_order() {
        let events: Vec<_> = Kind::ALL.into_iter().flat_map(Kind::events).collect();
        assert_eq!(events, Event::ALL, "each event once");
        let names: std::collections::HashSet<_> = Event::ALL.map(Event::name).into();
        assert_eq!(names.len(), Event::ALL.len());
    }
}
