//! What `SSLSWEEP_VERBOSE=1` says of the takeover, when it begins and at exit.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Managed, registry};
use crate::cache::Statistics;
use crate::{options, report};

/// What contexts that have ended did, beside their number. Not under one lock: at exit nothing may wait.
static ENDED: AtomicU64 = AtomicU64::new(0);
static DONE: [AtomicU64; 7] = [const { AtomicU64::new(0) }; 7];

/// In the order of [`DONE`].
fn counts(of: &mut Statistics) -> [&mut u64; 7] {
    let Statistics { stored, evicted, flushed, batches, taken, hits, misses } = of;
    [stored, evicted, flushed, batches, taken, hits, misses]
}

/// The `number`th context has been taken over.
pub(super) fn begun(number: u64) {
    if number == 1 && options::get().verbose {
        report::line("took over the internal session cache of the first SSL_CTX");
    }
}

pub(super) fn ended(managed: &Managed) {
    let mut statistics = managed.cache().statistics();
    ENDED.fetch_add(1, Ordering::Relaxed);
    for (sum, count) in DONE.iter().zip(counts(&mut statistics)) {
        sum.fetch_add(*count, Ordering::Relaxed);
    }
}

/// One line on what all caches did. It waits for nobody: another thread may hold a lock for good, and a signal handler
/// that ends the process may have interrupted this one with a lock. What is locked is left out.
pub(crate) fn at_exit() {
    let mut contexts = ENDED.load(Ordering::Relaxed);
    let mut all = Statistics::default();
    for (count, sum) in counts(&mut all).into_iter().zip(&DONE) {
        *count = sum.load(Ordering::Relaxed);
    }
    let mut still = 0;
    registry::try_for_each(|managed| {
        contexts += 1;
        all = all + managed.cache().try_statistics().unwrap_or_default();
        still += managed.cache().len();
    });
    if contexts == 0 {
        return report::line(
            "took over no SSL_CTX: the program made none, or made it past sslsweep; run sslsweep doctor PROGRAM",
        );
    }
    report::line(format_args!(
        "{contexts} SSL_CTX taken over; sessions: {} stored, {} found, {} not found, {} flushed in \
         {} batches, {} evicted, {} removed, {still} left",
        all.stored, all.hits, all.misses, all.flushed, all.batches, all.evicted, all.taken
    ));
}
