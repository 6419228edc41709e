//! What a context has flushed, and must never get again (F2, S3): also a session that is published once more by somebody
//! who has it still.
//!
//! A flush hides what expires before its time and comes from a handshake up to its moment. A later flush hides what earlier
//! ones with earlier times did, so those that count form a staircase: later ones have earlier times.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// The steps that are told apart. Beyond that, two become one that hides what either does.
const STEPS: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// Hides what expires before this time
    before: i64,
    /// and has an origin up to this number.
    until: u64,
}

/// The flushes of one context.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    // Only tried: a fork may have left it locked, and no handshake waits.
    steps: Mutex<Vec<Step>>,
    /// Everything with an origin below this number is hidden.
    all_below: AtomicU64,
}

impl Flushed {
    /// With all the memory that it needs; `None` if there is none.
    pub(crate) fn new() -> Option<Self> {
        let mut steps = Vec::new();
        steps.try_reserve_exact(STEPS + 1).ok()?;
        Some(Self { steps: Mutex::new(steps), all_below: AtomicU64::new(0) })
    }

    /// The context has flushed what expires before this time. `until` is the number of the last record that was published.
    pub(crate) fn add(&self, before: i64, until: u64, now: i64) {
        let Ok(mut steps) = self.steps.try_lock() else {
            self.all_below.fetch_max(until + 1, Ordering::Relaxed);
            return;
        };
        // What has expired since is not resumed anyway.
        steps.retain(|step| step.before > now && step.before > before);
        if before > now {
            steps.push(Step { before, until });
        }
        if steps.len() > STEPS {
            let first = steps.remove(0);
            steps[0].before = first.before;
        }
    }

    /// Returns whether a session is hidden from the context. In doubt it is.
    pub(crate) fn hides(&self, expiry: i64, origin: u64) -> bool {
        let Ok(steps) = self.steps.try_lock() else { return true };
        origin < self.all_below.load(Ordering::Relaxed)
            || steps.iter().any(|step| expiry < step.before && origin <= step.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_hides_what_was_flushed_and_nothing_else() {
        let flushed = Flushed::new().unwrap();
        assert!(!flushed.hides(200, 5) && !flushed.hides(200, 0));
        flushed.add(150, 5, 100);
        assert!(flushed.hides(149, 5));
        assert!(!flushed.hides(150, 5), "F1: strictly before");
        assert!(!flushed.hides(149, 6), "published later");
        flushed.add(i64::MAX, 7, 100);
        assert!(flushed.hides(200, 7));
        assert!(!flushed.hides(200, 8));
        flushed.add(120, 9, 100);
        assert!(flushed.hides(119, 9) && flushed.hides(200, 7) && !flushed.hides(200, 8));
    }

    #[test]
    fn a_flush_of_what_has_expired_is_no_step() {
        let flushed = Flushed::new().unwrap();
        flushed.add(100, 5, 100);
        assert!(flushed.steps.lock().unwrap().is_empty());
    }

    #[test]
    fn many_steps_hide_no_less() {
        let flushed = Flushed::new().unwrap();
        let all: Vec<_> = (0..50).map(|step| (1000 - step, step as u64 + 1)).collect();
        for &(before, until) in &all {
            flushed.add(before, until, 100);
        }
        assert!(flushed.steps.lock().unwrap().len() <= STEPS);
        for &(before, until) in &all {
            assert!(flushed.hides(before - 1, until), "{before} {until}");
        }
        assert!(!flushed.hides(500, 51) && !flushed.hides(1000, 1));
    }

    #[test]
    fn in_doubt_everything_is_hidden() {
        let flushed = Flushed::new().unwrap();
        let held = flushed.steps.lock().unwrap();
        assert!(flushed.hides(i64::MAX, u64::MAX));
        flushed.add(150, 5, 100);
        drop(held);
        assert!(flushed.hides(i64::MAX, 5) && !flushed.hides(i64::MAX, 6));
    }
}
