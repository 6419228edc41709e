//! The program's view of a context: the mode, size and callbacks that it believes it set, and the counts that it may ask for.

use std::ffi::c_long;
use std::sync::atomic::Ordering;

use super::{Managed, past};
use crate::libssl::inside;
use crate::libssl::types::*;

impl Managed {
    /// The mode that the program set.
    pub(crate) fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }

    /// Returns whether the program's mode lacks this flag.
    pub(super) fn lacks(&self, flag: u32) -> bool {
        self.mode() & flag == 0
    }

    /// Sets the program's mode, gives libssl the one that leaves the cache to us, and returns the
    /// program's previous one.
    pub(crate) fn set_mode(&self, mode: u32) -> u32 {
        self.set_real_mode(mode);
        let former = self.mode.swap(mode, Ordering::Relaxed);
        self.publish_view();
        former
    }

    pub(super) fn set_real_mode(&self, mode: u32) {
        let real = past::real_mode(mode);
        self.real_ctrl(SSL_CTRL_SET_SESS_CACHE_MODE, c_long::from(real as i32));
    }

    /// The size that the program set; 0 is unlimited.
    pub(crate) fn size(&self) -> c_long {
        self.size.load(Ordering::Relaxed) as c_long
    }

    /// Sets the size and returns the previous one; a negative one is refused with 0 (C1).
    pub(crate) fn set_size(&self, size: c_long) -> c_long {
        if size < 0 {
            return 0;
        }
        self.take_in();
        self.note_size(size)
    }

    pub(super) fn note_size(&self, size: c_long) -> c_long {
        if let Some(published) = &self.published {
            published.set_limit(size);
        }
        self.size.swap(size, Ordering::Relaxed) as c_long
    }

    /// Sessions stored.
    pub(crate) fn sessions(&self) -> c_long {
        saturate(self.cache().len() as u64)
    }

    /// Sessions that the program's get callback provided.
    pub(crate) fn callback_hits(&self) -> c_long {
        saturate(self.external_hits.load(Ordering::Relaxed))
    }

    pub(super) fn note_external_hit(&self) {
        self.external_hits.fetch_add(1, Ordering::Relaxed);
        if let Some(published) = &self.published {
            published.note_external_hit();
        }
    }

    /// The program's get callback found nothing, and nobody else was asked: with `NO_INTERNAL_LOOKUP`.
    pub(super) fn note_external_miss(&self) {
        self.external_misses.fetch_add(1, Ordering::Relaxed);
        if let Some(published) = &self.published {
            published.note_external_miss();
        }
    }

    /// Lookups that found nothing, here or, if they did not come here, with the program.
    pub(crate) fn all_misses(&self) -> u64 {
        self.cache().statistics().misses + self.external_misses.load(Ordering::Relaxed)
    }

    /// Lookups that found nothing here, and those that libssl itself counts (a client's). What a get callback
    /// does not find is no miss to libssl (C12).
    pub(crate) fn misses(&self) -> c_long {
        let real = self.real_ctrl(SSL_CTRL_SESS_MISSES, 0);
        saturate(self.cache().statistics().misses).saturating_add(real)
    }

    /// Sessions that were evicted.
    pub(crate) fn cache_full(&self) -> c_long {
        saturate(self.cache().statistics().evicted)
    }

    // A value set past us before is overwritten, and does not come back.

    pub(crate) fn set_new(&self, callback: Option<NewCallback>) {
        self.take_in();
        self.new.set(callback);
    }

    pub(crate) fn new_callback(&self) -> Option<NewCallback> {
        self.new.get()
    }

    pub(crate) fn set_get(&self, callback: Option<GetCallback>) {
        self.take_in();
        self.get.set(callback);
        self.publish_view();
    }

    pub(crate) fn get_callback(&self) -> Option<GetCallback> {
        self.get.get()
    }

    pub(crate) fn set_remove(&self, callback: Option<RemoveCallback>) {
        self.take_in();
        self.remove.set(callback);
    }

    pub(crate) fn remove_callback(&self) -> Option<RemoveCallback> {
        self.remove.get()
    }

    pub(crate) fn set_generate(&self, callback: Option<GenerateCallback>) {
        self.generate.set(callback);
        if callback.is_some() {
            self.last_generate.set(callback);
        }
    }

    /// What a connection has inherited whose beginning was not seen. It has one, and the context may have none
    /// any more.
    pub(super) fn inherited_generator(&self) -> Option<GenerateCallback> {
        self.generate.get().or_else(|| self.last_generate.get())
    }

    pub(super) fn generate_callback(&self) -> Option<GenerateCallback> {
        self.generate.get()
    }

    pub(super) fn real_ctrl(&self, command: i32, value: c_long) -> c_long {
        // SAFETY: the context is alive: whoever called us uses it.
        inside(|| unsafe {
            (self.api().SSL_CTX_ctrl)(self.ctx(), command, value, std::ptr::null_mut())
        })
    }
}

fn saturate(count: u64) -> c_long {
    c_long::try_from(count).unwrap_or(c_long::MAX)
}
