//! The boundary: no panic of ours crosses it, and whatever passes through from others is let pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::report;
pub(crate) use crate::system::uncancelled;

/// Runs a step of our own. Should it panic, which would be a defect of ours, the program gets `failure`
/// and goes on, and standard error says so once.
///
/// Never around what may run the program's code: a thread that ends there (`pthread_exit`, a cancellation)
/// unwinds its stack through our frames, and so does an exception of C++. Rust cannot let go of those again
/// once it has caught them. So each step has its guard, instead of each exported function.
pub(crate) fn guard<R>(failure: R, step: impl FnOnce() -> R) -> R {
    // Unwind safety: no lock of ours is poisoned, and no state is left half-changed where foreign
    // code runs.
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| {
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
