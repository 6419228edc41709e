//! A fence that costs nothing while there is one thread.

use std::sync::atomic::{AtomicU8, Ordering, compiler_fence};

/// Makes others see this thread's earlier writes before it reads theirs: `fence(SeqCst)`, which takes longer
/// than all else that a setter of a session does, unless nobody is there to see it.
#[inline]
pub(crate) fn see_each_other() {
    if is_alone() { compiler_fence(Ordering::SeqCst) } else { full_fence() }
}

/// `fence(SeqCst)`, which is made of `mfence` on x86-64: any locked instruction does the same in a third of the time.
#[inline]
fn full_fence() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: changes nothing but flags.
    unsafe {
        std::arch::asm!("lock or dword ptr [rsp], 0", options(nostack));
    }
    #[cfg(any(miri, not(target_arch = "x86_64")))]
    std::sync::atomic::fence(Ordering::SeqCst);
}

/// Returns whether this is certainly the only thread of the process, as the C library knows (glibc 2.32 and later). A thread
/// that is made after that sees all that was done before.
#[inline]
fn is_alone() -> bool {
    SINGLE_THREADED.is_some_and(|single| single.load(Ordering::Relaxed) != 0)
}

// Weakly, as older C libraries and others lack it; `extern` blocks know no weak symbols. The loader fills the address in.
#[cfg(not(miri))]
std::arch::global_asm!(
    ".weak __libc_single_threaded",
    ".pushsection .data.rel.ro.sslsweep_fence,\"aw\",@progbits",
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
