//! The folder of statistics files, and the test whether a file is still in use.

use std::fs::{self, File, Metadata};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use crate::layout::{FORKED, Family, Header, LAYOUT, MAGIC, PROCESSES, Process, pid_of, words};
pub use crate::name::{Name, start_of};
use crate::processes::{Numbers, Processes, is_mapped_by};

/// The folder of the files.
pub const FOLDER: &str = "/dev/shm";

/// The most files of one process: it may have run several programs, and children of an earlier one may still count.
pub const PROGRAMS: u32 = 8;

/// The inode number of this process's pid namespace; 0 if it is not known.
pub fn namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |about| about.ino())
}

/// Reads `N` words from byte `at` on.
fn read<const N: usize>(file: &File, at: usize) -> io::Result<[u64; N]> {
    let mut words = [[0; 8]; N];
    file.read_exact_at(words.as_flattened_mut(), at as u64)?;
    Ok(words.map(u64::from_ne_bytes))
}

/// A word of a header.
macro_rules! word {
    ($header:expr, $field:ident) => {
        $header[offset_of!(Header, $field) / 8]
    };
}

const HEADER: usize = words::<Header>();

/// The state of a file, by its header and its table of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A living process has it mapped, or may have.
    Live,
    /// No process has it mapped.
    Stale,
    /// It is incomplete, but so young that its maker may still be writing it.
    Young,
    /// It belongs to another pid namespace or an unknown one, and hidden processes may have it mapped.
    Elsewhere,
}

/// The state of the file of this name. The contents are not trusted: they can make the file look live, but cannot hide a
/// visible process that has it mapped. Only a file that seems stale costs a look at all processes.
pub fn in_use(name: Name, file: &File, about: &Metadata, processes: &Processes) -> Use {
    let header = read::<HEADER>(file, offset_of!(Family, header)).ok();
    let header = header.filter(|header| word!(header, magic) == MAGIC);
    let namespace = header.map(|header| word!(header, namespace));
    let numbers = namespace.map_or(Numbers::Own, |namespace| processes.numbers(namespace));
    let lives = |pid: u32| match numbers.of(pid) {
        None => false,
        // A process that we may not look into counts as live.
        Some(pid) => is_mapped_by(pid, name, about).unwrap_or(true),
    };
    if lives(name.pid) {
        return Use::Live;
    }
    match header.and_then(|header| pids(file, about, &header)) {
        Some(pids) if pids.iter().any(|&pid| lives(pid)) => return Use::Live,
        Some(_) => {}
        // It is of another version, damaged, or unfinished.
        None => {
            let now = SystemTime::now();
            let age = about.modified().ok().and_then(|time| now.duration_since(time).ok());
            if age.is_none_or(|age| age < Duration::from_secs(2)) {
                return Use::Young;
            }
        }
    }
    if processes.is_unused(name, about, namespace) {
        Use::Stale
    } else if namespace.is_some_and(|namespace| processes.is_here(namespace)) {
        Use::Live
    } else {
        Use::Elsewhere
    }
}

/// The pids in a file, if it has this layout.
fn pids(file: &File, about: &Metadata, header: &[u64; HEADER]) -> Option<Vec<u32>> {
    let whole = size_of::<Family>() as u64;
    let known =
        word!(header, layout) == LAYOUT && word!(header, bytes) == whole && about.len() == whole;
    if !known {
        return None;
    }
    let mut pids = Vec::new();
    for process in 0..PROCESSES {
        let at = offset_of!(Family, processes) + process * size_of::<Process>();
        let [owner] = read(file, at + offset_of!(Process, owner)).ok()?;
        pids.push(pid_of(owner));
    }
    let forked = &header[offset_of!(Header, forked) / 8..][..FORKED];
    pids.extend(forked.iter().map(|&pid| pid_of(pid)));
    pids.retain(|&pid| pid != 0);
    pids.sort_unstable();
    pids.dedup();
    Some(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process() {
        assert_ne!(namespace(), 0);
    }
}
