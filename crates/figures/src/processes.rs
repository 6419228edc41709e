//! The visible processes of the machine: which of them have a statistics file mapped, and the numbers of those in other
//! pid namespaces. A look at all processes takes long, so it happens at most once in a reading, and only if needed.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::name::{Name, start_of};

/// The inode number of the first pid namespace, which has all processes (the kernel's `PROC_PID_INIT_INO`).
const FIRST: u64 = 0xEFFF_FFFC;

/// The processes at the first look.
#[derive(Debug, Default)]
pub struct Processes {
    own: OnceCell<Own>,
    namespaces: OnceCell<Vec<Seen>>,
    mappings: OnceCell<Mappings>,
}

/// Our own namespace.
#[derive(Debug)]
struct Own {
    namespace: u64,
    /// `/proc` belongs to our pid namespace: it may be mounted for another one.
    is_proc: bool,
}

/// A process that we may look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number in `/proc`.
    pub pid: u32,
    /// Its pid namespace.
    pub namespace: u64,
}

/// The numbers in `/proc` of a namespace's pids.
#[derive(Debug)]
pub enum Numbers {
    /// They are the same.
    Own,
    /// They differ; these are visible.
    Other(HashMap<u32, u32>),
}

impl Numbers {
    /// The number of this pid in `/proc`; `None` if no process has it, or the process is hidden.
    pub fn of(&self, pid: u32) -> Option<u32> {
        match self {
            Numbers::Own => Some(pid).filter(|&pid| pid != 0),
            Numbers::Other(numbers) => numbers.get(&pid).copied(),
        }
    }
}

#[derive(Debug, Default)]
struct Mappings {
    /// The lines of `maps` that may have a statistics file.
    lines: Vec<Vec<u8>>,
    /// Processes whose maps we may not read: the start and the owner of each.
    unknown: Vec<(u64, u32)>,
}

/// The pids in `/proc`.
fn pids() -> Option<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc").ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// The inode number of a namespace, from its link.
fn inode(process: &str, kind: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

impl Processes {
    fn own(&self) -> &Own {
        self.own.get_or_init(|| Own {
            namespace: inode("self", "pid").unwrap_or(0),
            is_proc: fs::read_link("/proc/self")
                .is_ok_and(|own| own.to_str() == Some(&std::process::id().to_string())),
        })
    }

    /// Returns whether the pids of this namespace are the numbers in `/proc`.
    pub fn is_here(&self, namespace: u64) -> bool {
        let own = self.own();
        own.is_proc && own.namespace != 0 && own.namespace == namespace
    }

    /// Returns whether all processes of the machine are visible.
    fn sees_all(&self) -> bool {
        self.is_here(FIRST) && !are_hidden()
    }

    /// The processes whose namespaces we may know.
    pub fn seen(&self) -> &[Seen] {
        self.namespaces.get_or_init(|| {
            let look = |pid: u32| {
                let process = pid.to_string();
                Some(Seen { pid, namespace: inode(&process, "pid")? })
            };
            pids().into_iter().flatten().filter_map(look).collect()
        })
    }

    /// The numbers in `/proc` of a namespace's pids.
    pub fn numbers(&self, namespace: u64) -> Numbers {
        if self.is_here(namespace) {
            return Numbers::Own;
        }
        let its = self.seen().iter().filter(|seen| seen.namespace == namespace);
        Numbers::Other(its.filter_map(|seen| Some((innermost(seen.pid)?, seen.pid))).collect())
    }

    /// The process of another namespace that has this pid there and has this file mapped: a child of its maker, forked
    /// into that namespace.
    pub fn elsewhere(&self, pid: u32, name: Name, about: &Metadata) -> Option<u32> {
        let own = self.own().namespace;
        let others = self.seen().iter().filter(|seen| seen.namespace != own);
        others
            .filter(|seen| innermost(seen.pid) == Some(pid))
            .find(|seen| is_mapped_by(seen.pid, name, about) != Some(false))
            .map(|seen| seen.pid)
    }

    /// Returns whether no process can have this file mapped, whose maker is of this pid namespace, or of an unknown one.
    /// Without a clear answer that is no.
    pub fn is_unused(&self, name: Name, about: &Metadata, namespace: Option<u64>) -> bool {
        // A hidden process may have it mapped: the maker's children can be in namespaces below its own, but in no other.
        if !namespace.is_some_and(|namespace| self.is_here(namespace)) && !self.sees_all() {
            return false;
        }
        let mappings = self.mappings.get_or_init(look_at_all);
        // A process that has the file mapped has made it, or descends from its maker.
        let may = |&(start, owner): &(u64, u32)| owner == about.uid() && start >= name.start;
        !mappings.lines.iter().any(|line| shows(line, name, about))
            && !mappings.unknown.iter().any(may)
    }
}

/// Reads the maps of all processes.
fn look_at_all() -> Mappings {
    let mut mappings = Mappings::default();
    for pid in pids().into_iter().flatten() {
        match fs::read(format!("/proc/{pid}/maps")) {
            Ok(maps) => mappings.lines.extend(
                maps.split(|&byte| byte == b'\n')
                    .filter(|line| line.windows(10).any(|part| part == b"/sslsweep."))
                    .map(<[u8]>::to_vec),
            ),
            Err(_) => {
                let owner = fs::metadata(format!("/proc/{pid}")).map(|about| about.uid());
                // A process that has just ended has neither.
                mappings.unknown.extend(start_of(pid).zip(owner.ok()));
            }
        }
    }
    mappings
}

/// A process's number in its own pid namespace.
fn innermost(pid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    pids.split_ascii_whitespace().last()?.parse().ok()
}

fn is_missing(pid: u32) -> bool {
    matches!(fs::metadata(format!("/proc/{pid}")), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Returns whether other users' processes are hidden (hidepid): the first process always exists.
pub fn are_hidden() -> bool {
    is_missing(1)
}

/// Returns whether a process of this pid exists. Without a clear answer that is yes: there may be no descriptor left to
/// open `/proc`.
pub fn exists(pid: u32) -> bool {
    !is_missing(pid) || are_hidden()
}

/// Returns whether the process has this file mapped; `None` if the process belongs to another user.
pub fn is_mapped_by(pid: u32, name: Name, about: &Metadata) -> Option<bool> {
    match fs::read(format!("/proc/{pid}/maps")) {
        Ok(maps) => Some(maps.split(|&byte| byte == b'\n').any(|line| shows(line, name, about))),
        Err(_) if exists(pid) => None,
        Err(_) => Some(false),
    }
}

/// Returns whether a line of `/proc/PID/maps` shows this file: addresses, rights, offset, device, inode, path. On
/// overlayfs and btrfs the device may differ from the file's; then the name decides. A removed file has another name.
fn shows(line: &[u8], name: Name, file: &Metadata) -> bool {
    // The C library's major and minor.
    let (device, inode) = (file.dev(), file.ino().to_string());
    let major = (device >> 8 & 0xfff) | (device >> 32 & 0xffff_f000);
    let minor = (device & 0xff) | (device >> 12 & 0xffff_ff00);
    let (device, name) = (format!("{major:02x}:{minor:02x}"), format!("/{name}"));
    let mut fields = line.split(|&byte| byte == b' ').skip(3);
    let same_device = fields.next() == Some(device.as_bytes());
    fields.next() == Some(inode.as_bytes()) && (same_device || line.ends_with(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        let me = std::process::id();
        let name = Name { pid: me, start: 1, number: 0 };
        let program = fs::metadata("/proc/self/exe").expect("it runs");
        assert_eq!(is_mapped_by(me, name, &program), Some(true));
        assert_eq!(is_mapped_by(u32::MAX, name, &program), Some(false));
        let other = fs::metadata("/proc/self/stat").expect("it runs");
        assert_eq!(is_mapped_by(me, name, &other), Some(false));
        let inode = program.ino();
        for (line, shown) in [
            (format!("7f-80 rw-s 00000000 ff:ff {inode} /dev/shm/{name}"), true),
            (format!("7f-80 rw-s 00000000 ff:ff {inode} /dev/shm/{name}.1"), false),
            (format!("7f-80 rw-s 00000000 ff:ff {inode}1 /dev/shm/{name}"), false),
        ] {
            assert_eq!(shows(line.as_bytes(), name, &program), shown, "{line}");
        }
    }

    #[test]
    fn this_process() {
        let processes = Processes::default();
        let me = std::process::id();
        let seen = processes.seen().iter().find(|seen| seen.pid == me);
        let own = inode("self", "pid").expect("it has one");
        assert!(seen.is_some_and(|seen| seen.namespace == own));
        assert_eq!(processes.numbers(own).of(me), Some(me));
        assert_eq!(processes.numbers(own).of(0), None);
        assert_eq!(processes.numbers(own + 1).of(me), None);
        assert_eq!(innermost(me), Some(me), "these tests run where /proc is mounted");
        assert!(processes.is_here(own) && !processes.is_here(own + 1) && !processes.is_here(0));
    }
}
