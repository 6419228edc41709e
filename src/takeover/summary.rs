//! What `SSLSWEEP_VERBOSE=1` says of the takeover, when it begins and at exit.

use parking_lot::Mutex;

use super::{Managed, registry};
use crate::cache::Statistics;
use crate::{options, report};

/// Of contexts that have ended.
static ENDED: Mutex<(u64, Statistics)> = Mutex::new((0, EMPTY));
const EMPTY: Statistics =
    Statistics { stored: 0, evicted: 0, flushed: 0, batches: 0, taken: 0, hits: 0, misses: 0 };

/// The `number`th context has been taken over.
pub(super) fn begun(number: u64) {
    if number == 1 && options::get().verbose {
        report::line("took over the internal session cache of the first SSL_CTX");
    }
}

pub(super) fn ended(managed: &Managed) {
    let statistics = managed.cache().statistics();
    let mut ended = ENDED.lock();
    ended.0 += 1;
    ended.1 = ended.1 + statistics;
}

/// One line on what all caches did. Takes no lock that another thread may hold for good.
pub(crate) fn at_exit() {
    let Some((mut contexts, mut all)) = ENDED.try_lock().map(|ended| *ended) else { return };
    let mut still = 0;
    registry::try_for_each(|managed| {
        contexts += 1;
        all = all + managed.cache().statistics();
        still += managed.cache().len();
    });
    if contexts == 0 {
        return report::line("took no SSL_CTX over: none was made, or not through this library");
    }
    report::line(format_args!(
        "{contexts} SSL_CTX taken over; sessions: {} stored, {} found, {} not found, {} flushed in \
         {} batches, {} evicted, {} removed, {still} left",
        all.stored, all.hits, all.misses, all.flushed, all.batches, all.evicted, all.taken
    ));
}
