//! The program's view of a context: the mode, size and callbacks that it believes it set, and the counts that it may ask for.

use std::ffi::c_long;
use std::sync::atomic::Ordering;

use super::state::Context;
use crate::libssl::types::*;

/// Sessions that handshakes make or fetch between two automatic flushes (man
/// SSL_CTX_set_session_cache_mode; contract C8).
const AUTO_FLUSH_EVERY: u32 = 255;

impl Context {
    /// The mode that the program set.
    pub(crate) fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }

    /// Returns whether the program's mode lacks this flag.
    pub(crate) fn lacks(&self, flag: u32) -> bool {
        self.mode() & flag == 0
    }

    /// Returns whether the program's mode has servers store their sessions here and look for them here.
    pub(crate) fn serves(&self) -> bool {
        self.mode() & (SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL) == SSL_SESS_CACHE_SERVER
    }

    pub(super) fn note_size(&self, size: c_long) -> c_long {
        self.events.limit(size);
        self.size.swap(size, Ordering::Relaxed) as c_long
    }

    /// Sessions stored.
    pub(crate) fn sessions(&self) -> c_long {
        saturate(self.cache.len() as u64)
    }

    /// Sessions that the program's get callback provided.
    pub(crate) fn callback_hits(&self) -> c_long {
        saturate(self.external_hits.load(Ordering::Relaxed))
    }

    pub(crate) fn note_external_hit(&self) {
        self.external_hits.fetch_add(1, Ordering::Relaxed);
        self.events.external_hit();
    }

    /// The program's get callback found nothing, and nobody else was asked: with `NO_INTERNAL_LOOKUP`.
    pub(crate) fn note_external_miss(&self) {
        self.external_misses.fetch_add(1, Ordering::Relaxed);
        self.events.external_miss();
    }

    /// Lookups that found nothing, here or, if they did not come here, with the program.
    pub(crate) fn all_misses(&self) -> u64 {
        self.cache.statistics().misses + self.external_misses.load(Ordering::Relaxed)
    }

    /// Sessions that were evicted.
    pub(crate) fn cache_full(&self) -> c_long {
        saturate(self.cache.statistics().evicted)
    }

    pub(crate) fn set_generate(&self, callback: Option<GenerateCallback>) {
        self.generate.set(callback);
        if callback.is_some() {
            self.last_generate.set(callback);
        }
    }

    /// The generator that a connection has inherited whose beginning was not seen. It has one, and the context may have none
    /// any more.
    pub(crate) fn inherited_generator(&self) -> Option<GenerateCallback> {
        self.generate.get().or_else(|| self.last_generate.get())
    }

    /// Counts a session that a handshake has made or fetched from the program. Returns whether an automatic
    /// flush is due.
    ///
    /// A session counts also if we did not store it: with `NO_INTERNAL_STORE` the program may do that itself from
    /// its callback (stunnel does), and its sessions expire as well.
    pub(super) fn count_toward_flush(&self) -> bool {
        let sessions = self.sessions_since_flush.fetch_add(1, Ordering::Relaxed) + 1;
        if sessions < AUTO_FLUSH_EVERY {
            return false;
        }
        self.sessions_since_flush.store(0, Ordering::Relaxed);
        self.lacks(SSL_SESS_CACHE_NO_AUTO_CLEAR)
    }
}

pub(super) fn saturate(count: u64) -> c_long {
    c_long::try_from(count).unwrap_or(c_long::MAX)
}
