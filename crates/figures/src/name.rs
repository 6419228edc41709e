//! The names of statistics files.

use std::fs::File;
use std::io::Read;

const PREFIX: &str = "sslsweep.";

/// A file's name: `sslsweep.PID.START`, with the start of its maker, or `sslsweep.PID.START.NUMBER` if the process has
/// run another program before, whose file is still in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The process that made it.
    pub pid: u32,
    /// The start of that process.
    pub start: u64,
    /// The number of the file, from 0 on; 0 is not written.
    pub number: u32,
}

impl Name {
    /// Reads a name exactly as the library writes it: without signs and leading zeros.
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

/// The start of a process, in clock ticks since the start of the machine: field 22 of its `stat`, where the name before
/// may hold anything.
pub fn start_of(pid: u32) -> Option<u64> {
    let mut stat = Vec::new();
    File::open(format!("/proc/{pid}/stat")).ok()?.take(4096).read_to_end(&mut stat).ok()?;
    let after = stat.iter().rposition(|&byte| byte == b')')? + 1;
    String::from_utf8_lossy(&stat[after..]).split_ascii_whitespace().nth(19)?.parse().ok()
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
        assert!(start_of(std::process::id()).is_some_and(|start| start > 0));
        assert_eq!(start_of(u32::MAX), None);
    }
}
