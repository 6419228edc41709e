//! The program's callbacks that run on this thread, and what each was called for.
//!
//! A remove callback may remove the very session that it was called for, and a callback that was put in
//! the place of ours may call ours, which it found there. Both would come back to themselves for ever.
//!
//! A callback need not return: it may leave by longjmp, an exception or the end of its thread. The last two
//! unwind; after a longjmp the entry stays until the stack shows that its call is gone, because something
//! runs at or above the place where that was. Until then the entry only hides a removal of the same session, or
//! key, from the same context on this thread. (Walking the stack was rejected: it takes the loader's lock.)
//! On another stack, a coroutine's, an entry may be dropped too early, and the callback is then called again.

use std::cell::Cell;

use super::state::Context;
use crate::libssl::types::SslRef;
use crate::libssl::{Session, SessionRef, call_program};
use crate::stack::here;

/// The occasion of a callback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    context: usize,
    about: About,
}

#[derive(Debug, Clone, Copy)]
enum About {
    New {
        ssl: usize,
    },
    Get {
        ssl: usize,
    },
    /// Alive while it is known here: whoever calls back holds a reference, and so does what a longjmp leaves behind.
    Remove {
        session: SessionRef<'static>,
    },
}

impl Call {
    pub(crate) fn new(context: &Context, ssl: SslRef<'_>) -> Self {
        Self::about(context, About::New { ssl: ssl.address() })
    }

    pub(crate) fn get(context: &Context, ssl: SslRef<'_>) -> Self {
        Self::about(context, About::Get { ssl: ssl.address() })
    }

    /// The reference is its caller's own: see [`About::Remove`].
    pub(crate) fn remove(context: &Context, session: &Session) -> Self {
        Self::removal(context, session.get())
    }

    /// The same, only to ask.
    pub(crate) fn removal(context: &Context, session: SessionRef<'_>) -> Self {
        // SAFETY: alive while it is known here, as said there.
        let session = unsafe { session.extended() };
        Self::about(context, About::Remove { session })
    }

    /// Returns whether both are for the same object; of sessions also for the same key.
    fn is_for(&self, other: &Self) -> bool {
        self.context == other.context
            && match (self.about, other.about) {
                (About::New { ssl: one }, About::New { ssl: other })
                | (About::Get { ssl: one }, About::Get { ssl: other }) => one == other,
                (About::Remove { session: one }, About::Remove { session: other }) => {
                    one == other || one.has_key_of(other)
                }
                _ => false,
            }
    }

    fn about(context: &Context, about: About) -> Self {
        Self { context: std::ptr::from_ref(context).addr(), about }
    }

    /// Runs a callback of the program's for this.
    #[inline(never)] // a frame of its own, below that of whoever asks `count`
    pub(crate) fn run<R>(self, callback: impl FnOnce() -> R) -> R {
        let variable = 0u8;
        let entry = Entry { call: self, stack: here(&variable) };
        let _running = RUNNING.with(|running| running.push(entry));
        call_program(callback)
    }
}

/// How many callbacks of this thread run for what `call` says, one inside the other.
#[inline(always)] // `here` is in the frame of whoever would run one, above that of a call gone
pub(crate) fn count(call: impl FnOnce() -> Call) -> usize {
    // Mostly nothing runs, and nothing is asked of the session.
    if RUNNING.with(Running::is_empty) {
        return 0;
    }
    let variable = 0u8;
    RUNNING.with(|running| running.count(here(&variable), &call()))
}

/// Returns whether a callback of the program's runs on this thread.
#[inline(always)] // as above
pub(crate) fn any() -> bool {
    if RUNNING.with(Running::is_empty) {
        return false;
    }
    let variable = 0u8;
    RUNNING.with(|running| {
        running.drop_gone(here(&variable));
        !running.is_empty()
    })
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    call: Call,
    /// An address on the stack of its call. (Stacks grow down wherever OpenSSL runs.)
    stack: usize,
}

/// Callbacks inside callbacks that are known; of more, the innermost ones. What calls itself is among those,
/// unless it does so by a longer way round.
const MOST: usize = 16;

/// The entries from `first` on, up to `end`, each in the place of its number modulo [`MOST`].
struct Running {
    first: Cell<usize>,
    end: Cell<usize>,
    entries: [Cell<Option<Entry>>; MOST],
}

thread_local! {
    /// Without a destructor, as all of the library's.
    static RUNNING: Running = const {
        Running { first: Cell::new(0), end: Cell::new(0), entries: [const { Cell::new(None) }; MOST] }
    };
}

impl Running {
    fn at(&self, number: usize) -> Option<Entry> {
        self.entries[number % MOST].get()
    }

    /// (Never further than it is: coroutines may end in another order than they began in.)
    fn truncate(&self, end: usize) {
        let end = end.min(self.end.get());
        self.end.set(end);
        self.first.set(self.first.get().min(end));
    }

    /// Drops the entries whose calls are gone: something runs where they were, or further out.
    fn drop_gone(&self, here: usize) {
        let gone = |number| self.at(number).is_none_or(|entry| entry.stack <= here);
        while !self.is_empty() && gone(self.end.get() - 1) {
            self.truncate(self.end.get() - 1);
        }
    }

    fn push(&self, entry: Entry) -> Pop {
        self.drop_gone(entry.stack);
        let number = self.end.get();
        self.entries[number % MOST].set(Some(entry));
        self.end.set(number + 1);
        self.first.set(self.first.get().max((number + 1).saturating_sub(MOST)));
        Pop(number)
    }

    fn is_empty(&self) -> bool {
        self.first.get() == self.end.get()
    }

    fn count(&self, here: usize, call: &Call) -> usize {
        self.drop_gone(here);
        let numbers = self.first.get()..self.end.get();
        numbers
            .filter(|&number| self.at(number).is_some_and(|entry| entry.call.is_for(call)))
            .count()
    }
}

/// Ends an entry, and those inside it that a longjmp has left.
struct Pop(usize);

impl Drop for Pop {
    fn drop(&mut self) {
        RUNNING.with(|running| running.truncate(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ssl: usize) -> Call {
        Call { context: 1, about: About::New { ssl } }
    }

    #[inline(never)] // as a callback's own calls are
    fn is_running(call: impl FnOnce() -> Call) -> bool {
        count(call) > 0
    }

    #[test]
    fn a_call_is_known_while_it_runs() {
        assert!(!is_running(|| call(1)) && !any());
        call(1).run(|| {
            assert!(any());
            assert!(is_running(|| call(1)) && !is_running(|| call(2)));
            call(2).run(|| assert!(is_running(|| call(1)) && is_running(|| call(2))));
            assert!(is_running(|| call(1)) && !is_running(|| call(2)));
        });
        assert!(!is_running(|| panic!("nothing is asked when nothing runs")));
    }

    #[test]
    fn the_innermost_are_known() {
        fn nested(depth: usize) {
            call(depth).run(|| {
                let known = (1..=depth).filter(|&ssl| is_running(|| call(ssl))).count();
                assert_eq!(known, depth.min(MOST));
                assert!(is_running(|| call(depth)));
                if depth < 3 * MOST {
                    nested(depth + 1);
                }
            });
        }
        nested(1);
        assert!(!is_running(|| call(1)));
    }

    #[test]
    fn what_a_longjmp_left_is_dropped() {
        #[inline(never)]
        fn left() {
            let variable = 0u8;
            let stack = here(&variable);
            std::mem::forget(RUNNING.with(|running| running.push(Entry { call: call(1), stack })));
            assert!(is_running(|| call(1)));
        }
        left();
        let variable = 0u8;
        assert_eq!(RUNNING.with(|running| running.count(here(&variable), &call(1))), 0);
        assert!(!any());
    }
}
