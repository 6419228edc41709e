//! S5: sealing and opening make no system call and allocate nothing, so they may run in any sandbox.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sslsweep_seal::{Keys, Refusal};

/// The system's allocator, which counts.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: each call is passed on to the system's allocator, with the caller's promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the memory comes from `alloc`, so from the system's allocator.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns whether every operation did what it should.
fn do_all(keys: &Keys, other: &Keys) -> bool {
    let (mut record, mut plaintext) = ([0; 456], [0; 400]);
    (0..=400).all(|length| {
        let sealed = keys.seal(1, &[2; 16], b"data", &[3; 400][..length], &mut record);
        let record = &record[..sealed.unwrap_or_default()];
        let opened = keys.open(&[2; 16], b"data", record, &mut plaintext);
        opened.is_ok_and(|opened| opened.length == length)
            && keys.open(&[4; 16], b"data", record, &mut plaintext) == Err(Refusal::Tag)
            && keys.open(&[2; 16], b"", record, &mut plaintext) == Err(Refusal::Tag)
            && other.open(&[2; 16], b"data", record, &mut plaintext).is_err()
            && keys.open(&[2; 16], b"data", &record[1..], &mut plaintext) == Err(Refusal::Form)
    }) && keys.seal(1, &[2; 16], b"data", &[3; 401], &mut record).is_none()
        && keys.is_ours(&keys.make_id(&[5; 24]))
        && !other.is_ours(&keys.make_id(&[5; 24]))
}

#[test]
fn s5_sealing_makes_no_system_call_and_allocates_nothing() {
    let (keys, other) = (Keys::random().unwrap(), Keys::random().unwrap());
    // An emulator of user programs has no seccomp: there only memory is watched.
    let is_emulated = std::env::var_os("TEST_EMULATED").is_some();
    // SAFETY: the child calls no function that needs a lock of another thread, and does not return from here.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: the call has no pointers. From now on the kernel kills the child for any call but read, write and exit.
        if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) } != 0
            && !is_emulated
        {
            // SAFETY: the call ends the process.
            unsafe { libc::_exit(2) };
        }
        let before = ALLOCATIONS.load(Relaxed);
        // The processor is first asked for its instructions here, in the sandbox.
        let is_done = do_all(&keys, &other);
        let status = i64::from(!is_done || ALLOCATIONS.load(Relaxed) != before);
        // SAFETY: the call ends the only thread. (`_exit` would use a call that is not allowed.)
        unsafe { libc::syscall(libc::SYS_exit, status) };
    }
    assert!(pid > 0, "no more processes can be made");
    let mut status = 0;
    // SAFETY: the status is a local variable.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_ne!(status, 2 << 8, "this kernel has no seccomp");
    assert_eq!(status, 0, "9: a system call; 256: an allocation, or an operation that failed");
}
