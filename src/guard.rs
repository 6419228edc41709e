//! The boundary: no panic crosses it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::report;

/// Runs the body of an exported function or a callback. Should it panic, which would be a defect of
/// ours, the program gets `failure` and goes on, and standard error says so once.
pub(crate) fn guard<R>(failure: R, body: impl FnOnce() -> R) -> R {
    // Unwind safety: parking_lot does not poison, and no state is left half-changed where foreign
    // code runs.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        static SAID: AtomicBool = AtomicBool::new(false);
        if !SAID.swap(true, Ordering::Relaxed) {
            report::line("internal error, please report it; the call failed, the program goes on");
        }
        failure
    })
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg_attr(miri, ignore = "the line on standard error asks the system what that is")]
    fn a_panic_becomes_the_failure_value() {
        assert_eq!(super::guard(7, || 1), 1);
        assert_eq!(super::guard(7, || panic!("caught")), 7);
    }
}
