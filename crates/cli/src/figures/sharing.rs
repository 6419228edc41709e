//! The counts of sharing of a process, or of several together.

use std::sync::atomic::Ordering;

use sslsweep_figures::Process;
use sslsweep_share_table::{Event, Kind};

/// The counts of the events of sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing([u64; Event::ALL.len()]);

impl Default for Sharing {
    fn default() -> Sharing {
        Sharing([0; Event::ALL.len()])
    }
}

impl From<&Process> for Sharing {
    fn from(process: &Process) -> Sharing {
        Sharing(Event::ALL.map(|event| process.shared(event).load(Ordering::Relaxed)))
    }
}

impl Sharing {
    /// How often an event has happened.
    pub fn get(&self, event: Event) -> u64 {
        self.0[event.number() as usize]
    }

    /// How often the events of a kind have happened.
    pub fn sum(&self, kind: Kind) -> u64 {
        kind.events().fold(0, |sum, event| sum.saturating_add(self.get(event)))
    }

    /// Returns whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }

    /// The sums of both.
    pub fn with(&self, other: &Sharing) -> Sharing {
        Sharing(std::array::from_fn(|event| self.0[event].saturating_add(other.0[event])))
    }

    /// The events of a kind that were counted, each with its count.
    pub fn counted(&self, kind: Kind) -> impl Iterator<Item = (Event, u64)> {
        kind.events().map(|event| (event, self.get(event))).filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// These counts, and no others.
    pub fn sharing(counts: &[(Event, u64)]) -> Sharing {
        let mut sharing = Sharing::default();
        for &(event, count) in counts {
            sharing.0[event.number() as usize] = count;
        }
        sharing
    }

    #[test]
    fn sums() {
        assert!(Sharing::default().is_empty());
        let one = sharing(&[(Event::Fetched, u64::MAX), (Event::RefusedTrust, 2)]);
        let other = sharing(&[(Event::Fetched, 1), (Event::RefusedEms, 3)]);
        let both = one.with(&other);
        assert!(!both.is_empty());
        assert_eq!(both.get(Event::Fetched), u64::MAX, "a sum that does not fit");
        assert_eq!(both.sum(Kind::Refused), 5);
        let counted: Vec<_> = both.counted(Kind::Refused).collect();
        assert_eq!(counted, [(Event::RefusedTrust, 2), (Event::RefusedEms, 3)]);
        assert_eq!(both.sum(Kind::Published), 0);
    }
}
