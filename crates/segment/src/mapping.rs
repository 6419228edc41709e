//! A mapping of shared memory, seen as atomic words, and what else there is to ask the system when one is made. All unsafe
//! code of the crate is here and in `futex.rs`.

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

/// Returns whether this process is in a group.
pub(crate) fn is_in_group(group: u32) -> bool {
    // SAFETY: the call has no arguments and cannot fail.
    if unsafe { libc::getegid() } == group {
        return true;
    }
    // SAFETY: with a length of 0 the call writes nothing, and returns how many there are.
    let count = unsafe { libc::getgroups(0, ptr::null_mut()) };
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for so many. If there are more by now, the call fails.
    let count = unsafe { libc::getgroups(groups.len() as libc::c_int, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups.contains(&group)
}

/// Locks a file for this process, until it is closed. Returns whether it was free.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    // SAFETY: the call uses the descriptor alone.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// A number of the system's generator, and not 0.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    loop {
        // SAFETY: there is room for so many bytes. The kernel gives eight at once, or none.
        let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(filled) {
            Ok(8) if bytes != [0; 8] => return Ok(u64::from_ne_bytes(bytes)),
            Ok(_) => {}
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}
