//! The processes of the system, and what it shows of each.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::text::printable;

/// A process whose mapped files can be seen.
pub struct Seen {
    /// Its number.
    pub pid: u32,
    /// The name of its program, printable.
    pub program: String,
    /// Its `/proc/PID/maps`.
    pub maps: Vec<u8>,
}

/// All processes whose mapped files can be seen, and the number of processes whose files are hidden.
pub fn all() -> io::Result<(Vec<Seen>, usize)> {
    let mut seen = Vec::new();
    let mut hidden = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let at = |name: &str| entry.path().join(name);
        match fs::read(at("maps")) {
            Ok(maps) => {
                let program = fs::read(at("comm")).unwrap_or_default();
                let program = printable(program.strip_suffix(b"\n").unwrap_or(&program));
                seen.push(Seen { pid, program, maps });
            }
            // A process that has just ended is not hidden.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden += 1,
            Err(_) => {}
        }
    }
    seen.sort_by_key(|seen| seen.pid);
    Ok((seen, hidden))
}

/// The files that a process has mapped.
pub fn files(maps: &[u8]) -> BTreeSet<&[u8]> {
    maps.split(|&byte| byte == b'\n')
        .filter_map(|line| line.iter().position(|&byte| byte == b'/').map(|at| &line[at..]))
        .collect()
}

/// Returns whether the last part of a path begins with this.
pub fn is_named(path: &[u8], start: &str) -> bool {
    path.rsplit(|&byte| byte == b'/').next().is_some_and(|name| name.starts_with(start.as_bytes()))
}

/// A variable of an environment.
pub fn variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environment
        .split(|&byte| byte == 0)
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The processes that have a file loaded, in words.
pub fn loaded_by(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_default();
    let (seen, _) = all().unwrap_or_default();
    let loaded: BTreeSet<String> = seen
        .iter()
        .filter(|seen| files(&seen.maps).contains(path.as_os_str().as_bytes()))
        .map(|seen| format!("{} {}", seen.program, seen.pid))
        .collect();
    let some: Vec<&str> = loaded.iter().take(8).map(String::as_str).collect();
    match loaded.len() {
        0 => "no process that can be looked at".to_string(),
        1..=8 => some.join(", "),
        many => format!("{} and {} more", some.join(", "), many - 8),
    }
}
