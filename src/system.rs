//! The system's functions. The declarations say by their types all that a function asks for, such as a reference for a
//! pointer to one value, so that most are safe to call.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU32;

#[cfg(target_env = "musl")]
type LimitedResource = c_int;
#[cfg(not(target_env = "musl"))]
type LimitedResource = libc::__rlimit_resource_t;

unsafe extern "C" {
    pub(crate) safe fn time(also: Option<&mut libc::time_t>) -> libc::time_t;
    pub(crate) safe fn clock_gettime(clock: libc::clockid_t, now: &mut libc::timespec) -> c_int;
    pub(crate) safe fn geteuid() -> libc::uid_t;
    pub(crate) safe fn kill(process: libc::pid_t, signal: c_int) -> c_int;
    pub(crate) safe fn getrlimit(what: LimitedResource, is: &mut libc::rlimit) -> c_int;
    pub(crate) safe fn atexit(handler: extern "C" fn()) -> c_int;
    pub(crate) safe fn pthread_atfork(
        before: Option<extern "C" fn()>,
        in_parent: Option<extern "C" fn()>,
        in_child: Option<extern "C" fn()>,
    ) -> c_int;
    pub(crate) safe fn pthread_sigmask(
        how: c_int,
        set: Option<&libc::sigset_t>,
        former: Option<&mut libc::sigset_t>,
    ) -> c_int;
    pub(crate) safe fn sigaddset(set: &mut libc::sigset_t, signal: c_int) -> c_int;
    pub(crate) safe fn sigismember(set: &libc::sigset_t, signal: c_int) -> c_int;
    pub(crate) safe fn sigpending(set: &mut libc::sigset_t) -> c_int;
    pub(crate) safe fn sigtimedwait(
        set: &libc::sigset_t,
        about: Option<&mut libc::siginfo_t>,
        timeout: &libc::timespec,
    ) -> c_int;
    safe fn sysconf(name: c_int) -> libc::c_long;
    safe fn fstat(file: c_int, status: &mut MaybeUninit<libc::stat>) -> c_int;
    safe fn sigemptyset(set: &mut MaybeUninit<libc::sigset_t>) -> c_int;
    safe fn fallocate(file: c_int, mode: c_int, at: libc::off_t, bytes: libc::off_t) -> c_int;
    safe fn pthread_setcancelstate(state: c_int, former: &mut c_int) -> c_int;
    safe fn __errno_location() -> *mut c_int;
    fn secure_getenv(name: *const c_char) -> *const c_char;
}

/// A variable of the environment; none in a set-user-id program.
pub(crate) fn variable(name: &CStr) -> Option<&CStr> {
    // SAFETY: a string.
    let value = unsafe { secure_getenv(name.as_ptr()) };
    // SAFETY: not NULL, so a string. A program that changes its environment while others read it breaks POSIX's rules.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

pub(crate) fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub(crate) fn set_errno(error: c_int) {
    // SAFETY: this thread's own variable.
    unsafe { __errno_location().write(error) };
}

/// Runs a step in whose middle the thread must not end, such as a write, where POSIX lets a cancellation strike.
pub(crate) fn uncancelled<R>(step: impl FnOnce() -> R) -> R {
    const DISABLE: c_int = 1; // PTHREAD_CANCEL_DISABLE of glibc and musl
    let mut former = DISABLE;
    pthread_setcancelstate(DISABLE, &mut former);
    let result = step();
    pthread_setcancelstate(former, &mut 0);
    result
}

/// A description of an open file.
pub(crate) fn file_status(file: c_int) -> Option<libc::stat> {
    let mut status = MaybeUninit::uninit();
    let failed = fstat(file, &mut status) != 0;
    // SAFETY: fstat has filled it in.
    (!failed).then(|| unsafe { status.assume_init() })
}

/// A set without signals.
pub(crate) fn no_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    sigemptyset(&mut set);
    // SAFETY: sigemptyset has filled it in.
    unsafe { set.assume_init() }
}

/// Returns whether the bytes were written; if not, [`errno`] tells why.
pub(crate) fn write_to(file: c_int, bytes: &[u8]) -> bool {
    // SAFETY: the bytes of a slice.
    unsafe { libc::write(file, bytes.as_ptr().cast(), bytes.len()) >= 0 }
}

/// The kernel's filter of system calls for this thread: 0 none, 2 there is one, negative if it does not say.
pub(crate) fn system_call_filter() -> c_int {
    // SAFETY: a plain query.
    unsafe { libc::prctl(libc::PR_GET_SECCOMP) }
}

/// Sleeps while the word is `is`, until [`wake_one`] is called for it. Wakes for no reason too.
pub(crate) fn sleep_while(word: &AtomicU32, is: u32) {
    futex(word, libc::FUTEX_WAIT, is);
}

/// Returns whether a thread was asleep. The word may be gone: then nobody wakes, or somebody who sleeps for other reasons.
pub(crate) fn wake_one(word: *const AtomicU32) -> bool {
    futex(word, libc::FUTEX_WAKE, 1) == 1
}

fn futex(word: *const AtomicU32, operation: c_int, value: u32) -> libc::c_long {
    let forever: *const libc::timespec = std::ptr::null();
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel checks the address.
    unsafe { libc::syscall(libc::SYS_futex, word, operation, value, forever) }
}

/// The bytes of a page: 4 KiB on x86-64, 4 to 64 KiB on arm64, as the kernel was built.
pub(crate) fn page_size() -> usize {
    sysconf(libc::_SC_PAGESIZE) as usize
}

/// New pages of zeros; NULL if there are none.
pub(crate) fn map_pages(bytes: usize) -> *mut u8 {
    map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
}

/// Maps the beginning of a file, for good, after making room for it: a hole that cannot be filled, because the file
/// system is full, would be a fatal signal at the first write there.
pub(crate) fn map_shared(file: &std::fs::File, bytes: usize) -> std::io::Result<*mut u8> {
    let file = file.as_raw_fd();
    let has_room = fallocate(file, 0, 0, bytes as libc::off_t) == 0;
    let at = if has_room { map(bytes, libc::MAP_SHARED, file) } else { std::ptr::null_mut() };
    if at.is_null() { Err(std::io::Error::last_os_error()) } else { Ok(at) }
}

fn map(bytes: usize, flags: c_int, file: c_int) -> *mut u8 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: anywhere, so nothing is replaced.
    mapped(unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, file, 0) })
}

/// The address of a mapping that was asked for; NULL if there is none.
pub(crate) fn mapped(at: *mut c_void) -> *mut u8 {
    if at == libc::MAP_FAILED { std::ptr::null_mut() } else { at.cast() }
}
