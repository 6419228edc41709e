//! Whether a server's tickets are to be stateful (S11): `SSLSWEEP_TICKETS=stateful`, unless the program has keys or a callback
//! for tickets. Those it has made for tickets that other processes and machines read, and often renews them: it does without
//! a cache on purpose.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{options, report};

/// A context of this process has had ticket keys or a ticket callback.
static WITHDRAWN: AtomicBool = AtomicBool::new(false);

/// Returns whether the operator wants stateful tickets, wherever they may be.
#[inline]
pub(crate) fn are_wanted() -> bool {
    options::get().stateful_tickets
}

/// Returns whether connections that begin now may have stateful tickets.
pub(crate) fn are_stateful() -> bool {
    are_wanted() && !WITHDRAWN.load(Ordering::Relaxed)
}

/// The program has set ticket keys or a ticket callback: no further connection gets stateful tickets. Those that have them
/// keep them.
pub(crate) fn withdraw() {
    if !WITHDRAWN.swap(true, Ordering::Relaxed) && are_wanted() && options::get().verbose {
        report::line(format_args!(
            "SSLSWEEP_TICKETS=stateful ends here: the program has set ticket keys or a ticket callback"
        ));
    }
}
