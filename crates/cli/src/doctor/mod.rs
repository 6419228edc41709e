//! `sslsweep doctor` tells whether a program can be taken over or a process is taken over, why not, and what to do.
//! It runs nothing: `ldd` would start the program's own loader, which a hostile file can choose.

mod elf;
mod libraries;
mod process;
mod processes;
mod program;
mod report;
mod rights;
mod services;
mod sharing;

use std::ffi::OsStr;
use std::path::Path;

use crate::output::{Failure, print};
pub use program::{cannot_preload, hindrance};
pub use rights::find;

/// Examines a program, a process if the word is a number, or without a word all running services.
pub fn doctor(target: Option<&OsStr>, library: &Path) -> Result<(), Failure> {
    let Some(target) = target else { return services::doctor(library) };
    let pid = target
        .to_str()
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()) && !word.is_empty());
    let (report, verdict) = match pid {
        Some(word) => match word.parse::<u32>() {
            Ok(pid) if pid != 0 => process::examine(pid, library),
            _ => Err(format!("{word} is no number of a process")),
        },
        None => program::examine(target, library),
    }
    .map_err(|why| Failure::new(2, why))?;
    print(&report.text(&verdict))?;
    if report.has_no() { Err(Failure::silent(1)) } else { Ok(()) }
}
