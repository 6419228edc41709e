//! Judges whether a context's cache is in force or idle, and why. sslsweep is the *internal* cache of libssl, so it is
//! idle if a program keeps its sessions elsewhere or nowhere.

use sslsweep_figures::{MODE_EXTERNAL, MODE_KNOWN, MODE_TICKETS, Word};

use super::block::Block;
use super::process::{Figures, Place};

/// `SSL_SESS_CACHE_*`, as openssl/ssl.h has them.
const CLIENT: u64 = 0x1;
const SERVER: u64 = 0x2;
const NO_INTERNAL_STORE: u64 = 0x200;

/// The state of a cache. A process has the first of its contexts' states, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Sessions are stored.
    InForce,
    /// The library has not published the mode.
    Unknown,
    /// The program has switched the cache off, or uses it neither for stores nor for lookups.
    Off,
    /// The program keeps a cache of its own.
    External,
    /// The clients have all sessions as tickets.
    Tickets,
    /// There were handshakes, but no session was stored.
    Unstored,
    /// It makes connections and accepts none.
    Client,
    /// There was no handshake.
    Unused,
}

impl Verdict {
    /// All of them, in order.
    pub const ALL: [Verdict; 8] = [
        Verdict::InForce,
        Verdict::Unknown,
        Verdict::Off,
        Verdict::External,
        Verdict::Tickets,
        Verdict::Unstored,
        Verdict::Client,
        Verdict::Unused,
    ];

    /// The state of one context.
    pub fn of(block: &Block) -> Verdict {
        let mode = block.get(Word::Mode);
        let has = |bit: u64| mode & bit != 0;
        // Stored sessions count for more than the mode: stunnel sets NO_INTERNAL_STORE and adds each session itself.
        let stores = block.get(Word::Stores) > 0 && (has(CLIENT | SERVER) || !has(MODE_KNOWN));
        if block.get(Word::Sessions) > 0 || stores {
            return Verdict::InForce;
        }
        if !has(MODE_KNOWN) {
            return Verdict::Unknown;
        }
        if !has(CLIENT | SERVER) {
            return Verdict::Off;
        }
        let (accepted, connected) = (block.get(Word::Accepted), block.get(Word::Connected));
        if accepted == 0 && (connected > 0 || !has(SERVER)) {
            return Verdict::Client;
        }
        if has(NO_INTERNAL_STORE) {
            return if has(MODE_EXTERNAL) { Verdict::External } else { Verdict::Off };
        }
        match accepted {
            0 => Verdict::Unused,
            _ if has(MODE_TICKETS) => Verdict::Tickets,
            _ => Verdict::Unstored,
        }
    }

    /// The state of a process: in force if one of its contexts is.
    pub fn of_process(figures: &Figures) -> Verdict {
        let sums = [&figures.others, &figures.past];
        // A sum has no mode; it only shows whether something was stored.
        let sums = sums.into_iter().filter(|sum| sum.get(Word::Stores) > 0);
        let contexts = figures.contexts.iter().chain(sums).map(Verdict::of);
        contexts.min().unwrap_or(Verdict::Unused)
    }

    /// The state of a line in a table.
    pub fn at(figures: &Figures, place: Place, block: &Block) -> Verdict {
        match place {
            Place::All => Verdict::of_process(figures),
            _ => Verdict::of(block),
        }
    }

    /// Returns whether the cache is not used.
    pub fn is_idle(self) -> bool {
        !matches!(self, Verdict::InForce | Verdict::Unknown)
    }

    /// The state in at most nine letters.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::InForce => "in force",
            Verdict::Unknown => "-",
            Verdict::Off => "off",
            Verdict::External => "external",
            Verdict::Tickets => "tickets",
            Verdict::Unstored => "no stores",
            Verdict::Client => "client",
            Verdict::Unused => "unused",
        }
    }

    /// The state for a sentence: "nginx 17 is idle: ..." or "is in force: ...".
    pub fn sentence(self) -> &'static str {
        match self {
            Verdict::InForce => "in force: sessions are stored in its cache",
            Verdict::Unknown => "perhaps in force: its library does not publish the cache mode",
            Verdict::Off => "idle: the program has switched libssl's session cache off",
            Verdict::External => "idle: the program keeps its sessions in a cache of its own",
            Verdict::Tickets => {
                "idle: all clients get tickets, which need no cache on the server (TLS 1.3 and most clients of TLS 1.2)"
            }
            Verdict::Unstored => "idle: handshakes were finished, but no session was stored",
            Verdict::Client => "idle: it makes connections and accepts none",
            Verdict::Unused => "idle: no handshake has finished yet",
        }
    }

    /// The setting that puts the cache of this program in force, if it is known.
    pub fn remedy(self, program: &str) -> Option<&'static str> {
        use Verdict::{External, Off, Tickets, Unstored};
        if !matches!(self, Off | External | Tickets | Unstored) {
            return None;
        }
        Some(match (program, self) {
            // `off` sets SSL_SESS_CACHE_OFF; `none`, the default, NO_INTERNAL_STORE; `shared:` alone NO_INTERNAL.
            ("nginx" | "angie" | "freenginx", Tickets) => "ssl_session_tickets off;",
            ("nginx" | "angie" | "freenginx", _) => {
                "ssl_session_cache builtin:20480; ssl_session_tickets off;"
            }
            ("redis-server" | "valkey-server", Off) => "tls-session-caching yes",
            ("stunnel" | "stunnel4", Off) => "sessionResume = yes, options = NO_TICKET",
            ("stunnel" | "stunnel4", _) => "options = NO_TICKET",
            ("h2o", _) => "ssl-session-resumption: {mode: cache, cache-store: internal}",
            ("vsftpd", Off) => "require_ssl_reuse=YES",
            ("proftpd", _) => "TLSSessionCache none, TLSSessionTickets off",
            ("haproxy", _) => {
                "none: HAProxy keeps its sessions in a cache of its own, shared by its threads"
            }
            ("apache2" | "httpd", _) => {
                "none: Apache httpd keeps its sessions in a cache of its own (SSLSessionCache), or nowhere"
            }
            ("smtpd" | "smtp" | "tlsproxy", _) => {
                "none: Postfix uses tickets, or a cache of its own (smtpd_tls_session_cache_database)"
            }
            // Servers without a setting of their own use OpenSSL's.
            (_, Tickets) => {
                "SSLSWEEP_TICKETS=stateful; or in openssl.cnf, section of system_default: Options = -SessionTicket"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::figures;

    const KNOWN: u64 = MODE_KNOWN;

    fn of(words: &[(Word, u64)]) -> Verdict {
        let words: Vec<_> = words.iter().map(|&(word, value)| (word as usize, value)).collect();
        Verdict::of(&figures(&[(2, &[&[(0, 1)], &words[..]].concat())]).contexts[0])
    }

    #[test]
    fn contexts() {
        use Word::{Accepted, Connected, Mode, Sessions, Stores};
        for (words, verdict) in [
            (&[][..], Verdict::Unknown),
            (&[(Stores, 1)], Verdict::InForce),
            (&[(Mode, KNOWN | SERVER)], Verdict::Unused),
            (&[(Mode, KNOWN | SERVER | MODE_TICKETS)], Verdict::Unused),
            (&[(Mode, KNOWN | SERVER), (Accepted, 9), (Stores, 1)], Verdict::InForce),
            (&[(Mode, KNOWN | SERVER), (Accepted, 9)], Verdict::Unstored),
            (&[(Mode, KNOWN | SERVER | MODE_TICKETS), (Accepted, 9)], Verdict::Tickets),
            // Most clients leave the default mode, which is that of servers.
            (&[(Mode, KNOWN | SERVER), (Connected, 9)], Verdict::Client),
            (&[(Mode, KNOWN | CLIENT)], Verdict::Client),
            (&[(Mode, KNOWN | CLIENT | SERVER), (Connected, 1), (Accepted, 1)], Verdict::Unstored),
            (&[(Mode, KNOWN), (Accepted, 9)], Verdict::Off),
            (&[(Mode, KNOWN), (Stores, 9)], Verdict::Off),
            (&[(Mode, KNOWN), (Stores, 9), (Sessions, 1)], Verdict::InForce),
            // nginx: none, and shared: alone.
            (&[(Mode, KNOWN | SERVER | 0x280), (Accepted, 9)], Verdict::Off),
            (&[(Mode, KNOWN | SERVER | 0x300 | MODE_EXTERNAL), (Accepted, 9)], Verdict::External),
            (
                &[(Mode, KNOWN | SERVER | MODE_EXTERNAL), (Accepted, 9), (Stores, 1)],
                Verdict::InForce,
            ),
            // stunnel adds its sessions itself.
            (
                &[(Mode, KNOWN | 0x203 | MODE_EXTERNAL), (Accepted, 9), (Stores, 9)],
                Verdict::InForce,
            ),
        ] {
            assert_eq!(of(words), verdict, "{words:?}");
        }
    }

    #[test]
    fn processes() {
        let mode = Word::Mode as usize;
        let off = &[(0, 1), (mode, KNOWN)][..];
        let unused = &[(0, 2), (mode, KNOWN | SERVER)][..];
        let used = &[(0, 3), (mode, KNOWN | SERVER), (Word::Stores as usize, 1)][..];
        let ended = &[(Word::Stores as usize, 1)][..];
        for (blocks, verdict) in [
            (&[][..], Verdict::Unused),
            (&[(2, off), (3, unused)], Verdict::Off),
            (&[(2, off), (3, unused), (4, used)], Verdict::InForce),
            (&[(2, off), (0, ended)], Verdict::InForce),
        ] {
            let figures = figures(blocks);
            assert_eq!(Verdict::of_process(&figures), verdict, "{blocks:?}");
            assert_eq!(Verdict::at(&figures, Place::All, &figures.total()), verdict);
        }
    }

    #[test]
    fn words_fit_their_column() {
        let mut seen = std::collections::HashSet::new();
        for verdict in Verdict::ALL {
            assert!(verdict.word().len() <= 9 && seen.insert(verdict.word()), "{verdict:?}");
            assert!(!verdict.sentence().contains('\n'));
            let remedy = verdict.remedy("nginx").is_some();
            let wants = [Verdict::Off, Verdict::External, Verdict::Tickets, Verdict::Unstored];
            assert_eq!(remedy, wants.contains(&verdict), "{verdict:?}");
        }
        assert_eq!(Verdict::Tickets.remedy("nginx"), Some("ssl_session_tickets off;"));
        assert_eq!(Verdict::Off.remedy("something"), None);
    }
}
