//! All processes that use a libssl or have sslsweep loaded.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::process::{files, is_named, variable};
use super::{Report, program};
use crate::figures::{self, Figures};
use crate::text::printable;
use crate::verdict::Verdict;
use crate::{Failure, print, say};

/// A process as the system shows it.
struct Seen {
    pid: u32,
    program: String,
    maps: Vec<u8>,
}

/// All processes whose mapped files can be seen, and how many cannot. The kernel's own have none.
fn processes() -> io::Result<(Vec<Seen>, usize)> {
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
            // One that has ended meanwhile is not hidden.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden += 1,
            Err(_) => {}
        }
    }
    seen.sort_by_key(|seen| seen.pid);
    Ok((seen, hidden))
}

/// A line of the list.
struct Service {
    pid: u32,
    program: String,
    state: &'static str,
    text: String,
    taken_over: bool,
}

impl Service {
    /// Judges a process; `None` if it has nothing to do with libssl.
    fn of(seen: &Seen, figures: Option<&Figures>) -> Option<Service> {
        let mapped = files(&seen.maps);
        let has = |start: &str| mapped.iter().any(|path| is_named(path, start));
        let loaded = has("libsslsweep.so") || figures.is_some();
        if !loaded && !has("libssl.so") {
            return None;
        }
        let proc = PathBuf::from(format!("/proc/{}", seen.pid));
        let environment = fs::read(proc.join("environ")).unwrap_or_default();
        let disabled = variable(&environment, "SSLSWEEP_DISABLE") == Some(b"1");
        let (state, text) = match figures {
            _ if loaded && disabled => {
                ("disabled", "SSLSWEEP_DISABLE=1 is set; start it without".to_string())
            }
            Some(figures) => {
                let verdict = Verdict::of_process(figures);
                let remedy = verdict.remedy(&figures.program);
                let remedy = remedy.map(|it| format!("; setting: {it}")).unwrap_or_default();
                let sentence = verdict.sentence();
                // The word says that already.
                let why = sentence.strip_prefix("in force: ").unwrap_or(sentence);
                (verdict.word(), why.to_string() + &remedy)
            }
            None if loaded && !has("libssl.so") => {
                ("loaded", "no libssl.so is loaded, so there is nothing to take over".to_string())
            }
            None if loaded => (
                "loaded",
                "it publishes no figures; start it with: sslsweep run --stats -- PROGRAM, or SSLSWEEP_STATS=1"
                    .to_string(),
            ),
            None => ("without", without(&proc)),
        };
        let taken_over = loaded && !disabled;
        Some(Service { pid: seen.pid, program: seen.program.clone(), state, text, taken_over })
    }
}

/// Why a process runs without sslsweep, and what to do.
fn without(proc: &Path) -> String {
    let hindrance = fs::read_link(proc.join("exe")).ok().and_then(|exe| {
        let inside = proc.join("root").join(exe.strip_prefix("/").unwrap_or(&exe));
        program::hindrance(&inside)
    });
    match hindrance {
        Some((why, remedy)) => format!("{why}; {remedy}"),
        None => {
            "sslsweep is not loaded; start it with: sslsweep run --stats -- PROGRAM".to_string()
        }
    }
}

/// Lists all services, a line for each.
pub fn doctor() -> Result<(), Failure> {
    let (seen, hidden) = processes()?;
    let reading = figures::read(&[]);
    let by_pid: HashMap<u32, &Figures> =
        reading.processes.iter().map(|figures| (figures.pid, figures)).collect();
    let services: Vec<Service> =
        seen.iter().filter_map(|seen| Service::of(seen, by_pid.get(&seen.pid).copied())).collect();
    let width = services.iter().map(|service| service.program.len()).max().unwrap_or(0).max(7);
    let mut text = String::new();
    if services.is_empty() {
        text += "no process that can be looked at uses libssl.so\n";
    } else {
        let _ =
            writeln!(text, "{:>7} {:<width$} {:<9} WHY, AND WHAT TO DO", "PID", "PROGRAM", "STATE");
    }
    for Service { pid, program, state, text: why, .. } in &services {
        let _ = writeln!(text, "{pid:>7} {program:<width$} {state:<9} {why}");
    }
    print(&text)?;
    let processes = if hidden == 1 { "1 process" } else { &format!("{hidden} processes") };
    match (hidden, figures::user()) {
        (0, 0) => {}
        (0, _) if figures::are_hidden() => {
            say("processes of other users are hidden from you; ask as root")
        }
        (0, _) => {}
        (_, 0) => say(&format!("{processes} could not be looked at, not even as root")),
        _ => say(&format!("{processes} of other users could not be looked at; ask as root")),
    }
    reading.complaints.iter().for_each(|line| say(line));
    if services.iter().all(|service| service.taken_over) { Ok(()) } else { Err(Failure::silent(1)) }
}

/// Says which processes have a file loaded.
pub fn loaded_by(path: &Path, report: &mut Report) {
    let (Ok(path), Ok((seen, _))) = (fs::canonicalize(path), processes()) else { return };
    let path = path.as_os_str().as_bytes();
    let loaded: BTreeSet<String> = seen
        .iter()
        .filter(|seen| files(&seen.maps).contains(path))
        .map(|seen| format!("{} {}", seen.program, seen.pid))
        .collect();
    let some: Vec<&str> = loaded.iter().take(8).map(String::as_str).collect();
    let more =
        if loaded.len() > 8 { format!(" and {} more", loaded.len() - 8) } else { String::new() };
    report.note(
        "loaded by",
        match loaded.is_empty() {
            true => "no process that can be looked at".to_string(),
            false => format!("{}{more}", some.join(", ")),
        },
    );
}
