//! A mapping of shared memory, seen as atomic words. All unsafe code of the crate is here.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

use libc::{MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_SHARED, PROT_READ, PROT_WRITE};

/// Memory that is mapped until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    words: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: the memory belongs to no thread, and is reached only as atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory of this process and its children, all zero. It is reserved, and takes room when it is used.
    pub(crate) fn anonymous(bytes: usize) -> io::Result<Self> {
        Self::new(bytes, MAP_ANONYMOUS | MAP_NORESERVE, -1)
    }

    /// The first bytes of a file, which has as many. (Whoever may write to the file can cut it, and a process that uses the
    /// memory then gets SIGBUS.)
    pub(crate) fn of_file(file: &File, bytes: usize) -> io::Result<Self> {
        Self::new(bytes, 0, file.as_raw_fd())
    }

    fn new(bytes: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<Self> {
        let (access, flags) = (PROT_READ | PROT_WRITE, MAP_SHARED | flags);
        // SAFETY: the kernel chooses the address, so nothing that is mapped is replaced.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, fd, 0) };
        if start == MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self { words, bytes };
        // No record goes into a core dump.
        // SAFETY: start and length are those of the mapping just made.
        if unsafe { libc::madvise(start, bytes, libc::MADV_DONTDUMP) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(mapping)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the memory is mapped for reading and writing as long as `self` lives, begins on a page, and any bytes are a
        // valid `AtomicU64`. Other processes change it too: by atomic operations of the processor, as all code in this
        // crate does, or by hostile stores, which show as other values.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.bytes / size_of::<AtomicU64>()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped this, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.bytes) };
    }
}

/// Takes the file's room, so that no later access finds its file system full, which would be a SIGBUS.
pub(crate) fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    let length = bytes.try_into().map_err(|_| io::ErrorKind::FileTooLarge)?;
    // Beyond this limit the kernel would end the process by a signal.
    if bytes as u64 > file_size_limit() {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    loop {
        // SAFETY: the call uses the descriptor and two numbers, no memory.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// The size beyond which this process may not write files.
fn file_size_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is a local variable.
    match unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } {
        0 => limit.rlim_cur,
        _ => u64::MAX,
    }
}

/// The user id under which this process uses files.
pub(crate) fn user() -> u32 {
    // SAFETY: the call has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}
