//! The folder and the names of statistics files, and how to tell which of them nobody needs any more.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use crate::processes::{Numbers, Processes, is_mapped_by};
use crate::{FORKED, Family, Header, LAYOUT, MAGIC, PROCESSES, Process, pid_of};

/// The folder of the files.
pub const FOLDER: &str = "/dev/shm";

const PREFIX: &str = "sslsweep.";

/// Files of one process: it may have been several programs, and the children of an earlier one may still count.
pub const PROGRAMS: u32 = 8;

/// A file's name, `sslsweep.PID.START`, and `.NUMBER` where the process has been another program whose file is still in
/// use. START is the maker's start time, field 22 of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The process that made it.
    pub pid: u32,
    /// When that began.
    pub start: u64,
    /// From 0 on, which is not written.
    pub number: u32,
}

impl Name {
    /// Understands a file's name: nothing but what the library would call it, so no sign and no leading zero.
    pub fn parse(text: &str) -> Option<Name> {
        let mut parts = text.strip_prefix(PREFIX)?.split('.');
        let name = Name {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            number: parts.next().map_or(Some(0), |number| number.parse().ok())?,
        };
        (name.to_string() == text).then_some(name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{PREFIX}{}.{}", self.pid, self.start)?;
        if self.number == 0 { Ok(()) } else { write!(to, ".{}", self.number) }
    }
}

/// When a process began: field 22 of its `stat`, counted behind the name, which may hold anything.
pub fn start_of(pid: u32) -> Option<u64> {
    let mut stat = Vec::new();
    File::open(format!("/proc/{pid}/stat")).ok()?.take(4096).read_to_end(&mut stat).ok()?;
    let after = stat.iter().rposition(|&byte| byte == b')')? + 1;
    String::from_utf8_lossy(&stat[after..]).split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The inode number of this process's pid namespace; 0 where that is not known.
pub fn namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |about| about.ino())
}

/// Reads `count` words from word `first` on.
pub fn read_words(file: &File, first: usize, count: usize) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; count * 8];
    file.read_exact_at(&mut bytes, first as u64 * 8)?;
    Ok(bytes
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
        .collect())
}

/// A word of a header.
macro_rules! in_header {
    ($field:ident) => {
        (offset_of!(Family, header) + offset_of!(Header, $field)) / 8
    };
}

/// The state of a file, by its header and its table of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A living process has it mapped, or may have.
    Live,
    /// Nobody has.
    Stale,
    /// It is not complete, and so young that it may be in the making.
    Young,
    /// It is of another pid namespace, or of one that is not known, and there may be processes that are not to be seen here.
    Elsewhere,
}

/// Returns the state of the file of this name. The contents are not trusted: they can only make the file look live, and
/// not hide a visible process that has it mapped. Only a file that seems stale costs a look at all processes.
pub fn in_use(name: Name, file: &File, about: &Metadata, processes: &Processes) -> Use {
    let header = read_words(file, 0, crate::words::<Header>()).ok();
    let header = header.filter(|header| header[in_header!(magic)] == MAGIC);
    let namespace = header.as_ref().map(|header| header[in_header!(namespace)]);
    let numbers = namespace.map_or(Numbers::Own, |namespace| processes.numbers(namespace));
    let lives = |pid: u32| match numbers.of(pid) {
        None => false,
        // One that we may not look into is taken for live.
        Some(pid) => is_mapped_by(pid, name, about).unwrap_or(true),
    };
    if lives(name.pid) {
        return Use::Live;
    }
    match header.and_then(|header| pids(file, about, &header)) {
        Some(pids) if pids.iter().any(|&pid| lives(pid)) => return Use::Live,
        Some(_) => {}
        // Of another version, damaged, or not finished.
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

/// The pids that a file names, if it has this layout.
fn pids(file: &File, about: &Metadata, header: &[u64]) -> Option<Vec<u32>> {
    let whole = size_of::<Family>() as u64;
    let known = header[in_header!(layout)] == LAYOUT
        && header[in_header!(bytes)] == whole
        && about.len() == whole;
    if !known {
        return None;
    }
    let mut pids = Vec::new();
    for process in 0..PROCESSES {
        let at = (offset_of!(Family, processes) + process * size_of::<Process>()) / 8;
        pids.push(pid_of(read_words(file, at, 1).ok()?[0]));
    }
    let forked = &header[in_header!(forked)..][..FORKED];
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
    fn names() {
        for (text, number) in [("sslsweep.12.345", 0), ("sslsweep.12.345.1", 1)] {
            let name = Name { pid: 12, start: 345, number };
            assert_eq!(Name::parse(text), Some(name));
            assert_eq!(name.to_string(), text);
        }
        for text in [
            "sslsweep.1",
            "sslsweep.x.1",
            "sslsweep.1.1.0",
            "sslsweep.1.1.1.1",
            "sslsweep.+1.1",
            "sslsweep.01.1",
            "other",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_process() {
        let me = std::process::id();
        assert!(start_of(me).is_some_and(|start| start > 0));
        assert_eq!(start_of(u32::MAX), None);
        assert_ne!(namespace(), 0);
    }
}
