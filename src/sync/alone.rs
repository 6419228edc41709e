//! Tells whether the process has one thread only, as the workers of nginx do. An atomic is then changed by a load and a
//! store, without a locked instruction, which takes as long as some twenty others.
//!
//! No other thread can run between the two, because this one would have to start it. A signal handler can, but it returns
//! before this thread goes on, and has released its locks by then.

use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

/// Where the C library says that there is one thread; [`NO`] before [`look`], and if it does not say so.
static SAYS: AtomicPtr<AtomicU8> = AtomicPtr::new((&raw const NO).cast_mut());
static NO: AtomicU8 = AtomicU8::new(0);

/// Returns whether this is certainly the only thread of the process, as the C library knows (glibc 2.32 and later). A thread
/// that is made after that sees all that was done before.
///
/// (A question whether the C library says it at all would be asked with each lock.)
#[inline]
pub(crate) fn is_alone() -> bool {
    // SAFETY: one of two statics.
    let says = unsafe { &*SAYS.load(Ordering::Relaxed) };
    says.load(Ordering::Relaxed) != 0
}

/// Finds out whether the C library says it.
pub(super) fn look() {
    if let Some(single) = SINGLE_THREADED {
        SAYS.store(std::ptr::from_ref(single).cast_mut(), Ordering::Relaxed);
    }
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
        super::look();
        std::thread::scope(|scope| {
            assert!(!scope.spawn(super::is_alone).join().unwrap());
        });
    }
}
