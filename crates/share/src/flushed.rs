//! What a context has flushed, and must never get again (F2, S3): also a session that is published once more by somebody
//! who has it still.
//!
//! A flush hides what expires before its time and comes from a handshake up to its moment. A later flush hides what earlier
//! ones with earlier times did, so those that count form a staircase: later ones have earlier times.
//!
//! Of two handshakes on this machine the numbers tell which was first. Those of other machines have numbers of their own, and
//! are compared by time, with room for clocks that differ.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use sslsweep_share_table::Origin;

/// The steps that are told apart. Beyond that, two become one that hides what either does.
const STEPS: usize = 8;

/// The seconds by which the clocks of two machines may differ.
pub(crate) const CLOCKS: i64 = 300;

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// Hides what expires before this time
    before: i64,
    /// and has an origin up to this number,
    until: u64,
    /// or on another machine up to this time.
    time: i64,
}

/// The flushes of one context.
#[derive(Debug)]
pub(crate) struct Flushed {
    /// The segment of this machine.
    home: u64,
    // Only tried: a fork may have left it locked, and no handshake waits.
    steps: Mutex<Vec<Step>>,
    /// Everything with an origin below this number is hidden,
    all_below: AtomicU64,
    /// or on another machine up to this time.
    all_until: AtomicI64,
}

impl Flushed {
    /// With all the memory that it needs; `None` if there is none. `home` is the segment's.
    pub(crate) fn new(home: u64) -> Option<Self> {
        let mut steps = Vec::new();
        steps.try_reserve_exact(STEPS + 1).ok()?;
        let (all_below, all_until) = (AtomicU64::new(0), AtomicI64::new(i64::MIN));
        Some(Self { home, steps: Mutex::new(steps), all_below, all_until })
    }

    /// The context has flushed what expires before this time. `until` is the number of the last record that was published.
    pub(crate) fn add(&self, before: i64, until: u64, now: i64) {
        let Ok(mut steps) = self.steps.try_lock() else {
            self.all_below.fetch_max(until + 1, Ordering::Relaxed);
            self.all_until.fetch_max(latest(now), Ordering::Relaxed);
            return;
        };
        // What has expired since is not resumed anyway.
        steps.retain(|step| step.before > now && step.before > before);
        if before > now {
            steps.push(Step { before, until, time: latest(now) });
        }
        if steps.len() > STEPS {
            let first = steps.remove(0);
            steps[0].before = first.before;
        }
    }

    /// Returns whether a session is hidden from the context. In doubt it is.
    pub(crate) fn hides(&self, expiry: i64, origin: &Origin) -> bool {
        let Ok(steps) = self.steps.try_lock() else { return true };
        // One whose number is not known may come from any handshake.
        let is_own = origin.home == self.home || origin.number == 0;
        let is_up_to = |number, time| match is_own {
            true => origin.number <= number,
            false => origin.time <= time,
        };
        let all_below = self.all_below.load(Ordering::Relaxed);
        let is_below =
            all_below > 0 && is_up_to(all_below - 1, self.all_until.load(Ordering::Relaxed));
        is_below || steps.iter().any(|step| expiry < step.before && is_up_to(step.until, step.time))
    }
}

/// What was published at this time may have a later one, by another machine's clock.
fn latest(now: i64) -> i64 {
    now.saturating_add(CLOCKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: u64 = 7;

    /// An origin of this machine.
    fn own(number: u64) -> Origin {
        Origin { home: HOME, number, time: 100, epoch: 0 }
    }

    /// One of another machine, whose numbers mean nothing here.
    fn other(number: u64, time: i64) -> Origin {
        Origin { home: 8, number, time, epoch: 0 }
    }

    #[test]
    fn s3_hides_what_was_flushed_and_nothing_else() {
        let flushed = Flushed::new(HOME).unwrap();
        assert!(!flushed.hides(200, &own(5)) && !flushed.hides(200, &own(0)));
        flushed.add(150, 5, 100);
        assert!(flushed.hides(149, &own(5)));
        assert!(!flushed.hides(150, &own(5)), "F1: strictly before");
        assert!(!flushed.hides(149, &own(6)), "published later");
        flushed.add(i64::MAX, 7, 100);
        assert!(flushed.hides(200, &own(7)));
        assert!(!flushed.hides(200, &own(8)));
        flushed.add(120, 9, 100);
        assert!(
            flushed.hides(119, &own(9))
                && flushed.hides(200, &own(7))
                && !flushed.hides(200, &own(8))
        );
    }

    #[test]
    fn a_flush_of_what_has_expired_is_no_step() {
        let flushed = Flushed::new(HOME).unwrap();
        flushed.add(100, 5, 100);
        assert!(flushed.steps.lock().unwrap().is_empty());
    }

    #[test]
    fn s3_what_other_machines_publish_is_told_by_time() {
        let flushed = Flushed::new(HOME).unwrap();
        flushed.add(10_000, 5, 1000);
        for number in [1, 6, u64::MAX] {
            assert!(flushed.hides(9999, &other(number, 1000)));
            assert!(flushed.hides(9999, &other(number, 1000 + CLOCKS)), "a clock that is ahead");
            assert!(!flushed.hides(9999, &other(number, 1001 + CLOCKS)), "published later");
            assert!(!flushed.hides(10_000, &other(number, 1000)), "F1: strictly before");
        }
        assert!(flushed.hides(9999, &other(0, i64::MAX)), "a number that is not known");
        assert!(!flushed.hides(9999, &own(6)), "this machine's numbers are exact");
    }

    #[test]
    fn many_steps_hide_no_less() {
        let flushed = Flushed::new(HOME).unwrap();
        let all: Vec<_> = (0..50).map(|step| (1000 - step, step as u64 + 1)).collect();
        for &(before, until) in &all {
            flushed.add(before, until, 100);
        }
        assert!(flushed.steps.lock().unwrap().len() <= STEPS);
        for &(before, until) in &all {
            assert!(flushed.hides(before - 1, &own(until)), "{before} {until}");
        }
        assert!(!flushed.hides(500, &own(51)) && !flushed.hides(1000, &own(1)));
    }

    #[test]
    fn in_doubt_everything_is_hidden() {
        let flushed = Flushed::new(HOME).unwrap();
        let held = flushed.steps.lock().unwrap();
        assert!(flushed.hides(i64::MAX, &own(u64::MAX)));
        flushed.add(150, 5, 100);
        drop(held);
        assert!(flushed.hides(i64::MAX, &own(5)) && !flushed.hides(i64::MAX, &own(6)));
        assert!(flushed.hides(i64::MAX, &other(9, 100 + CLOCKS)));
        assert!(!flushed.hides(i64::MAX, &other(1, 101 + CLOCKS)));
    }
}
