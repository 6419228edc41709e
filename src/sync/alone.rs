//! Whether there is one thread, as in the processes of a server that forks (nginx). A change of an atomic then needs no locked
//! instruction, which takes as long as some twenty others.
//!
//! A load and a store take the place of the change. No thread can come between the two, as this one would have to start it,
//! and what a signal handler does between them it has also ended: locks are free again.

use std::sync::atomic::{AtomicU8, Ordering};

/// Returns whether this is certainly the only thread of the process, as the C library knows (glibc 2.32 and later). A thread
/// that is made after that sees all that was done before.
#[inline]
pub(crate) fn is_alone() -> bool {
    SINGLE_THREADED.is_some_and(|single| single.load(Ordering::Relaxed) != 0)
}

// Weakly, as older C libraries and others lack it; `extern` blocks know no weak symbols. The loader fills the address in.
#[cfg(not(miri))]
std::arch::global_asm!(
    ".weak __libc_single_threaded",
    ".pushsection .data.rel.ro.sslsweep_alone,\"aw\",@progbits",
    ".balign 8",
    ".hidden sslsweep_single_threaded",
    ".globl sslsweep_single_threaded",
    "sslsweep_single_threaded: .quad __libc_single_threaded",
    ".popsection",
);

#[cfg(not(miri))]
unsafe extern "C" {
    #[link_name = "sslsweep_single_threaded"]
    safe static SINGLE_THREADED: Option<&'static AtomicU8>;
}
#[cfg(miri)]
static SINGLE_THREADED: Option<&'static AtomicU8> = None;

#[cfg(test)]
mod tests {
    #[test]
    fn with_another_thread_nobody_is_alone() {
        std::thread::scope(|scope| {
            assert!(!scope.spawn(super::is_alone).join().unwrap());
        });
    }
}
