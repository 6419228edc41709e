//! The report on the things that a program needs to share sessions.

use std::fs;
use std::path::Path;

use super::report::Report;
use crate::share::{self, NEVER, Program};

/// The topic of all findings.
pub const TOPIC: &str = "sharing";

/// Reports what is there for sharing, and what is missing.
pub fn sharing(
    value: &[u8],
    key: Option<&[u8]>,
    wait: Option<&[u8]>,
    exe: &Path,
    program: &Program<'_>,
    report: &mut Report,
) {
    if share::never(exe) {
        report.advise(TOPIC, format!("its sessions are never shared: {}", NEVER.0), Some(NEVER.1));
        return;
    }
    for found in share::examine(value, key, wait, program) {
        match found {
            Ok(text) => report.yes(TOPIC, text),
            Err((text, remedy)) => report.no(TOPIC, text, remedy),
        }
    }
}

/// The effective user of a process.
pub fn user_of(proc: &Path) -> Option<u32> {
    let status = fs::read_to_string(proc.join("status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok())
}
