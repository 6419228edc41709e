//! The messages of `SSLSWEEP_VERBOSE=1` about the takeover, at its beginning and at exit.

use std::fmt;

use sslsweep_share_table::{Event, Kind};

use super::registry::{Totals, totals};
use crate::{options, published, report};

/// The `number`th context has been taken over.
pub(super) fn begun(number: u64) {
    if number == 1 && options::get().verbose {
        report::line("took over the internal session cache of the first SSL_CTX");
    }
}

/// One line on what all caches did, and one on sharing, if anything was counted. It waits for nobody: another thread may hold a lock for good, and a signal handler
/// that ends the process may have interrupted this one with a lock. What is locked is left out.
pub(crate) fn at_exit() {
    let Totals { contexts, done, stored } = totals();
    if contexts == 0 {
        return report::line(
            "took over no SSL_CTX: the program made none, or made it past sslsweep; run sslsweep doctor PROGRAM",
        );
    }
    report::line(format_args!(
        "{contexts} SSL_CTX taken over; sessions: {} stored, {} found, {} not found, {} flushed in \
         {} batches, {} evicted, {} removed, {stored} left",
        done.stored, done.hits, done.misses, done.flushed, done.batches, done.evicted, done.taken
    ));
    let sharing = Sharing(published::shared_count);
    if !sharing.is_empty() {
        report::line(sharing);
    }
}

/// What was shared, from the count of each event. Nothing here allocates.
struct Sharing<F: Fn(Event) -> u64>(F);

impl<F: Fn(Event) -> u64> Sharing<F> {
    fn is_empty(&self) -> bool {
        Event::ALL.into_iter().all(|event| (self.0)(event) == 0)
    }

    fn sum(&self, kind: Kind) -> u64 {
        kind.events().fold(0, |sum, event| sum.saturating_add((self.0)(event)))
    }

    /// The reasons of a kind that has some.
    fn reasons(&self, kind: Kind, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = kind.events().filter(|&event| (self.0)(event) > 0);
        let with_reason = counted.filter(|event| !event.reason().is_empty());
        for (place, event) in with_reason.clone().enumerate() {
            let start = if place == 0 { " (" } else { ", " };
            write!(to, "{start}{} {}", (self.0)(event), Words(event.reason()))?;
        }
        to.write_str(if with_reason.count() > 0 { ")" } else { "" })
    }
}

impl<F: Fn(Event) -> u64> fmt::Display for Sharing<F> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut start = "sharing: ";
        for kind in Kind::ALL.into_iter().filter(|&kind| self.sum(kind) > 0) {
            to.write_str(start)?;
            match kind {
                Kind::Aside => write!(to, "{} SSL_CTX aside", self.sum(kind))?,
                _ => write!(to, "{} {}", self.sum(kind), Words(kind.name()))?,
            }
            self.reasons(kind, to)?;
            start = ", ";
        }
        Ok(())
    }
}

/// A name of metrics, with spaces.
struct Words(&'static str);

impl fmt::Display for Words {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.0.split('_');
        to.write_str(words.next().unwrap_or_default())?;
        words.try_for_each(|word| write!(to, " {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(counts: &[(Event, u64)]) -> String {
        let of = |event| counts.iter().find(|(it, _)| *it == event).map_or(0, |&(_, count)| count);
        let sharing = Sharing(of);
        assert_eq!(sharing.is_empty(), counts.is_empty());
        sharing.to_string()
    }

    #[test]
    fn s9_a_line_about_sharing() {
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[(Event::Published, 1)]), "sharing: 1 published");
        assert_eq!(
            line(&[
                (Event::Published, 12),
                (Event::NoRoom, 2),
                (Event::ClientAuthentication, 1),
                (Event::Fetched, 5),
                (Event::RefusedFlushed, 3),
                (Event::AsideClientHello, 1),
                (Event::AsideProgram, 1),
            ]),
            "sharing: 12 published, 3 not published (2 no room, 1 client authentication), 5 fetched, \
             3 refused (3 flushed), 2 SSL_CTX aside (1 program, 1 client hello callback)"
        );
        // The longest line is not cut.
        let most: Vec<_> = Event::ALL.map(|event| (event, u64::MAX)).into();
        assert!(line(&most).len() < 1400, "{}", line(&most).len());
    }
}
