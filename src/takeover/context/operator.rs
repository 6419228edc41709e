//! The operator's requests to flush, which a context obeys.

use std::sync::Arc;

use sslsweep_figures::REQUEST_ALL;

use super::running;
use super::state::Context;
use crate::cache::Cutoff;
use crate::time;

/// The sessions that a request asks to remove.
fn cutoff(request: u64) -> Cutoff {
    if request & REQUEST_ALL == 0 { Cutoff::Before(time::now()) } else { Cutoff::All }
}

impl Context {
    /// Obeys a request that has come since the last look, as an automatic flush goes: on a thread that uses this context
    /// anyway, with no lock held. Each use of the cache looks here, at its end, or before it has a session in hand.
    ///
    /// Not within a callback of the program's, which may hold a lock that another callback waits for: a later use will look.
    #[inline(always)] // see `running::any`
    pub(crate) fn obey(self: &Arc<Self>) {
        if self.events.is_asked() && !running::any() {
            self.obey_now();
        }
    }

    #[cold]
    fn obey_now(self: &Arc<Self>) {
        // A callback may free the context, and its state with it.
        let context = Arc::clone(self);
        // A context that ends flushes itself.
        if context.events.is_end_begun() {
            return;
        }
        if let Some(request) = context.events.take_request(|_| true) {
            let removed = context.flush(cutoff(request));
            context.events.answer(request, removed);
        }
    }

    /// The same where no callback may run: only if nothing would leave. So contexts answer that store nothing.
    pub(crate) fn obey_without_callbacks(&self) {
        if !self.events.is_asked() {
            return;
        }
        let nothing_leaves = |request| !self.cache.is_due(cutoff(request));
        if let Some(request) = self.events.take_request(nothing_leaves) {
            self.events.answer(request, 0);
        }
    }
}
