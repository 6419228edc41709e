//! S5, S7: an operation makes no system call and allocates nothing, so it may run in any sandbox and at any moment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sslsweep_segment::{Agent, Name, Segment};

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

/// Returns whether every operation did what it should, in buckets that are empty, filled and full. A question is
/// asked if there is an agent.
fn do_all(segment: &Segment, has_agent: bool) -> bool {
    let name = |number: u8| Name::from_bytes([number; 16]);
    for number in 0..=255 {
        let _ = segment.put(name(number), &[number; 400], 9, 1);
        let _ = (segment.get(name(number), 1), segment.take(name(number), 1));
        segment.forget(name(number / 2), 9, 1);
        if segment.ask(name(number)).is_some() != has_agent {
            return false;
        }
    }
    let counts = segment.counts();
    counts.puts > 0 && counts.hits > 0 && counts.takes > 0 && counts.marked > 0
}

#[test]
fn s5_an_operation_makes_no_system_call_and_allocates_nothing() {
    is_quiet(&Segment::family(5 * 4096).unwrap(), false);
}

/// Neither does one that an agent is told of, nor a question to it.
#[test]
fn s5_an_agent_costs_no_system_call() {
    let path = std::env::temp_dir().join(format!("sslsweep-quiet-{}", std::process::id()));
    let agent = Agent::attach(&path, 5 * 4096, None).unwrap();
    let segment = Segment::host(&path, 5 * 4096).unwrap();
    std::fs::remove_file(&path).unwrap();
    agent.set_upstream(true);
    is_quiet(&segment, true);
    let mut changes = agent.changes();
    assert!(changes.next_change(1).is_some() && agent.questions().next().is_some());
}

fn is_quiet(segment: &Segment, has_agent: bool) {
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
        let is_done = do_all(segment, has_agent);
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
