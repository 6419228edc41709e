//! Tells whether this thread is inside a call of ours to the real libssl.
//!
//! If libssl routes its internal calls through the PLT (Debian, Ubuntu), a function that we call
//! calls back into our exports: it must then reach the real one. And when we let the real
//! `SSL_CTX_remove_session` mark a session, its remove callback, our trampoline, must stay silent.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Restores the depth, also when the program's code leaves by an exception or ends the thread, whose
/// destructors may still come here.
struct Restore(u32);

impl Drop for Restore {
    fn drop(&mut self) {
        DEPTH.set(self.0);
    }
}

/// Returns whether this thread is inside a call made by [`call_libssl`].
pub(crate) fn is_in_libssl() -> bool {
    DEPTH.get() > 0
}

/// Calls the real libssl so that what it calls back passes straight through.
pub(crate) fn call_libssl<R>(call: impl FnOnce() -> R) -> R {
    let _restore = Restore(DEPTH.replace(DEPTH.get() + 1));
    call()
}

/// Calls one of the program's own callbacks, for which nothing is inside.
///
/// A callback that leaves by longjmp skips the restoring, and has left the real libssl as well.
pub(crate) fn call_program<R>(callback: impl FnOnce() -> R) -> R {
    let _restore = Restore(DEPTH.replace(0));
    callback()
}
