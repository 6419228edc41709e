//! Stateful tickets (S11): `SSLSWEEP_TICKETS=stateful`.

use std::sync::atomic::{AtomicBool, Ordering};

/// A context of this process has ticket keys or a ticket callback.
static WITHDRAWN: AtomicBool = AtomicBool::new(false);

/// The program makes tickets of its own: no further connection gets stateful ones. Those that have them keep them.
pub(crate) fn withdraw() {
    WITHDRAWN.store(true, Ordering::Relaxed);
}
