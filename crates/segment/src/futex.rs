//! Sleeping at a word of shared memory. The one file with a system call that a handshake may make, and with a clock:
//! both only where somebody waits.

use std::ptr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::fleet::{Futex, Woken};

/// A time of the machine's clock that never goes back (`CLOCK_MONOTONIC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The time now. (No system call where the kernel has a vDSO.)
    pub fn now() -> Self {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the time is a local variable. The clock exists on every kernel, so the call cannot fail.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        Self(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }

    /// The time so long after the clock's beginning, for tests.
    pub fn from_start(since: Duration) -> Self {
        Self(since)
    }

    /// This time and so much more.
    pub fn after(self, more: Duration) -> Self {
        Self(self.0.saturating_add(more))
    }

    pub(crate) fn millis(self) -> u64 {
        self.0.as_millis() as u64
    }
}

/// The kernel's futexes, between processes.
pub(crate) struct Kernel;

impl Kernel {
    /// Calls the kernel. `Err` is the error's number; the thread's `errno` stays the program's.
    fn call(
        word: &AtomicU64,
        operation: i32,
        value: u32,
        until: *const libc::timespec,
    ) -> Result<(), i32> {
        // The lower half, wherever the machine has it.
        let half = if cfg!(target_endian = "big") { 1 } else { 0 };
        let half = word.as_ptr().cast::<u32>().wrapping_add(half);
        let any = libc::FUTEX_BITSET_MATCH_ANY;
        // SAFETY: the call has no arguments.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: the thread's own variable, here and below.
        let before = unsafe { *errno };
        // SAFETY: the kernel reads the half of a word that lives, and the time if there is one. It writes nothing.
        let result = unsafe {
            libc::syscall(libc::SYS_futex, half, operation, value, until, ptr::null::<u32>(), any)
        };
        if result != -1 {
            return Ok(());
        }
        // SAFETY: as above.
        Err(unsafe { std::mem::replace(&mut *errno, before) })
    }
}

impl Futex for Kernel {
    type Deadline = Moment;

    fn wait(&self, word: &AtomicU64, seen: u64, deadline: Moment) -> Woken {
        let until = libc::timespec {
            tv_sec: deadline.0.as_secs() as libc::time_t,
            tv_nsec: deadline.0.subsec_nanos() as _,
        };
        // This operation's deadline is absolute, so a signal does not make the wait longer.
        match Self::call(word, libc::FUTEX_WAIT_BITSET, seen as u32, &until) {
            Ok(()) | Err(libc::EINTR) => Woken::Perhaps,
            Err(libc::EAGAIN) => Woken::Changed,
            Err(_) => Woken::Late,
        }
    }

    fn wake(&self, word: &AtomicU64) {
        let _ = Self::call(word, libc::FUTEX_WAKE, i32::MAX as u32, ptr::null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errno_stays_the_programs() {
        let word = AtomicU64::new(1);
        let past = Moment::from_start(Duration::ZERO);
        let errno = || std::io::Error::last_os_error().raw_os_error();
        // SAFETY: the call has no arguments.
        let place = unsafe { libc::__errno_location() };
        // SAFETY: the thread's own variable.
        unsafe { *place = libc::ENOENT };
        assert!(matches!(Kernel.wait(&word, 2, past), Woken::Changed));
        assert_eq!(errno(), Some(libc::ENOENT));
        assert!(matches!(Kernel.wait(&word, 1, past), Woken::Late));
        assert_eq!(errno(), Some(libc::ENOENT));
        Kernel.wake(&word);
        assert_eq!(errno(), Some(libc::ENOENT));
    }
}
