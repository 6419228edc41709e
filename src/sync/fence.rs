//! A fence that costs nothing while there is one thread.

use std::sync::atomic::{Ordering, compiler_fence};

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
    // SAFETY: NULL, or a variable of the C library's that may change at any time.
    let single = single_threaded();
    // SAFETY: as above.
    !single.is_null() && unsafe { single.read_volatile() } != 0
}

// Weakly, as older C libraries and others lack it; `extern` blocks know no weak symbols.
#[inline]
fn single_threaded() -> *const u8 {
    #[cfg(all(target_env = "gnu", target_arch = "x86_64", not(miri)))]
    {
        let address;
        // SAFETY: reads an address that the loader has put there.
        unsafe {
            std::arch::asm!(
                ".weak __libc_single_threaded",
                "mov {}, qword ptr [rip + __libc_single_threaded@GOTPCREL]",
                out(reg) address, options(pure, nomem, nostack, preserves_flags)
            );
        }
        address
    }
    #[cfg(all(target_env = "gnu", target_arch = "aarch64", not(miri)))]
    {
        let address;
        // SAFETY: as above.
        unsafe {
            std::arch::asm!(
                ".weak __libc_single_threaded",
                "adrp {0}, :got:__libc_single_threaded",
                "ldr {0}, [{0}, :got_lo12:__libc_single_threaded]",
                out(reg) address, options(pure, nomem, nostack, preserves_flags)
            );
        }
        address
    }
    #[cfg(any(
        miri,
        not(target_env = "gnu"),
        not(any(target_arch = "x86_64", target_arch = "aarch64"))
    ))]
    std::ptr::null()
}

#[cfg(test)]
mod tests {
    #[test]
    fn with_another_thread_nobody_is_alone() {
        std::thread::scope(|scope| {
            assert!(!scope.spawn(super::is_alone).join().unwrap());
        });
    }
}
