//! A context during a call that is about it.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

use super::state::Context;

/// A context that is used without counting a reference until foreign code runs, in which it might end: a callback of the
/// program's, or an ex_data function of a session that is freed. Whoever comes to that calls [`Held::keep`] before, unless
/// nobody uses the context after it.
///
/// (Counting is two locked instructions at one place in memory, where all threads that use the context would meet.)
#[derive(Debug)]
pub(crate) struct Held {
    context: ManuallyDrop<Arc<Context>>,
    counted: Cell<bool>,
}

impl Held {
    /// A context that is alive, as its caller says.
    pub(in crate::takeover) fn borrowed(context: ManuallyDrop<Arc<Context>>) -> Self {
        Self { context, counted: Cell::new(false) }
    }

    /// From now on the context may end.
    pub(super) fn keep(&self) {
        if !self.counted.replace(true) {
            std::mem::forget(Arc::clone(&self.context));
        }
    }
}

impl From<Arc<Context>> for Held {
    fn from(context: Arc<Context>) -> Self {
        Self { context: ManuallyDrop::new(context), counted: Cell::new(true) }
    }
}

impl Deref for Held {
    type Target = Arc<Context>;

    fn deref(&self) -> &Self::Target {
        &self.context
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.counted.get() {
            // SAFETY: this reference was counted, and nobody uses it any more.
            unsafe { ManuallyDrop::drop(&mut self.context) };
        }
    }
}
