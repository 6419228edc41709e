//! The operator's side of a context: figures that it publishes, and requests to flush that it obeys.

use std::sync::Arc;
use std::time::Duration;

use sslsweep_figures::REQUEST_ALL;

use super::{Managed, flush, running};
use crate::cache::Cutoff;
use crate::libssl::types::*;
use crate::published::Handshakes;
use crate::time;

/// The sessions that a request asks to remove.
fn cutoff(request: u64) -> Cutoff {
    if request & REQUEST_ALL == 0 { Cutoff::Before(time::now()) } else { Cutoff::All }
}

impl Managed {
    pub(super) fn note_batch(&self, took: Duration) {
        let step = self.flushes.note_batch(took);
        if let Some(published) = self.published.as_ref().filter(|published| !published.is_ending())
        {
            published.note_batch(step, took, self.flushes.longest_batch());
        }
    }

    /// A flush has ended; one that the end of the context has begun is none to the operator.
    pub(super) fn note_flush(&self, removed: u64, took: Duration, is_end: bool) {
        let step = self.flushes.note_flush(took);
        if let Some(published) = self.published.as_ref().filter(|_| !is_end) {
            published.note_flush(step, removed, took, self.cache());
        }
    }

    /// All sessions are about to leave because the context ends.
    pub(super) fn publish_end(&self) {
        if let Some(published) = &self.published {
            self.publish_view();
            published.begin_end(self.cache().statistics().flushed);
        }
    }

    pub(super) fn is_end_published(&self) -> bool {
        self.published.as_ref().is_some_and(|published| published.is_ending())
    }

    pub(super) fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// Publishes what the program has set, and what libssl itself has counted.
    pub(super) fn publish_view(&self) {
        let Some(published) = &self.published else { return };
        // SAFETY: the context is alive: whoever called us uses it.
        let options = unsafe { (self.api().SSL_CTX_get_options)(self.ctx()) } as u32;
        published.set_mode(self.mode(), self.get.get().is_some(), options & SSL_OP_NO_TICKET == 0);
        published.note_handshakes(Handshakes {
            accepted: self.ask_real(SSL_CTRL_SESS_ACCEPT_GOOD) as u32,
            connected: self.ask_real(SSL_CTRL_SESS_CONNECT_GOOD) as u32,
            resumed: self.ask_real(SSL_CTRL_SESS_HIT) as u32,
        });
    }

    /// A session has come, gone, or been given another expiry.
    pub(super) fn publish_change(&self) {
        if let Some(published) = &self.published {
            published.note_change(self.cache());
        }
    }

    /// Obeys a request that has come since the last look, as an automatic flush goes: on a thread that uses this context
    /// anyway, with no lock held. Each use of the cache looks here, at its end, or before it has a session in hand.
    ///
    /// Not within a callback of the program's, which may hold a lock that another callback waits for: a later use will look.
    #[inline(always)] // see `running::any`
    pub(crate) fn obey(self: &Arc<Self>) {
        if self.published.as_ref().is_some_and(|published| published.is_asked()) && !running::any()
        {
            self.obey_now();
        }
    }

    #[cold]
    fn obey_now(self: &Arc<Self>) {
        // A callback may free the context, and its state with it.
        let managed = Arc::clone(self);
        let Some(published) = &managed.published else { return };
        // A context that ends flushes itself.
        if published.is_ending() {
            return;
        }
        if let Some(request) = published.take_request(|_| true) {
            let removed = flush::flush(&managed, cutoff(request));
            published.answer(request, removed);
        }
    }

    /// The same where no callback may run: only if nothing would leave. So contexts answer that store nothing.
    pub(super) fn obey_without_callbacks(&self) {
        let Some(published) = self.published.as_ref().filter(|published| published.is_asked())
        else {
            return;
        };
        let nothing_leaves = |request| !self.cache().is_due(cutoff(request));
        if let Some(request) = published.take_request(nothing_leaves) {
            published.answer(request, 0);
        }
    }
}
