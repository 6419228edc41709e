//! Whether this thread is inside a call of ours to the real libssl.
//!
//! Where libssl routes its internal calls through the PLT (Debian, Ubuntu), a function that we call
//! calls back into our exports: it must then reach the real one. And when we let the real
//! `SSL_CTX_remove_session` mark a session, its remove callback, our trampoline, must stay silent.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is inside a call made by [`inside`].
pub(crate) fn is_inside() -> bool {
    DEPTH.get() > 0
}

/// Calls the real libssl so that what it calls back passes straight through.
pub(crate) fn inside<R>(call: impl FnOnce() -> R) -> R {
    DEPTH.set(DEPTH.get() + 1);
    let result = call();
    DEPTH.set(DEPTH.get() - 1);
    result
}

/// Calls one of the program's own callbacks, for which nothing is inside.
///
/// A callback that leaves by longjmp skips the restoring, and has left the real libssl as well.
pub(crate) fn program<R>(callback: impl FnOnce() -> R) -> R {
    let depth = DEPTH.replace(0);
    let result = callback();
    DEPTH.set(depth);
    result
}
