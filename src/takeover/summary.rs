//! The messages of `SSLSWEEP_VERBOSE=1` about the takeover, at its beginning and at exit.

use super::registry::{Totals, totals};
use crate::{options, report};

/// The `number`th context has been taken over.
pub(super) fn begun(number: u64) {
    if number == 1 && options::get().verbose {
        report::line("took over the internal session cache of the first SSL_CTX");
    }
}

/// One line on what all caches did. It waits for nobody: another thread may hold a lock for good, and a signal handler
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
}
