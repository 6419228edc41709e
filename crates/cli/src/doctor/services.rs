//! All processes that use a libssl or have sslsweep loaded.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sslsweep_figures::processes::are_hidden;

use super::processes::{self, Seen, files, is_named, variable};
use super::program;
use crate::figures::{self, Figures, Verdict};
use crate::output::{Failure, print, say};
use crate::system::user;

/// A line of the list.
struct Service {
    pid: u32,
    program: String,
    state: &'static str,
    text: String,
    taken_over: bool,
}

impl Service {
    /// The line of a process; `None` if the process does not use libssl.
    fn of(seen: &Seen, figures: Option<&Figures>, library: &Path) -> Option<Service> {
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
                // The state says that already.
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
            None => ("without", without(&proc, library)),
        };
        let taken_over = loaded && !disabled;
        Some(Service { pid: seen.pid, program: seen.program.clone(), state, text, taken_over })
    }
}

/// The reason why a process runs without sslsweep, and the remedy.
fn without(proc: &Path, library: &Path) -> String {
    let hindrance = fs::read_link(proc.join("exe")).ok().and_then(|exe| {
        let inside = proc.join("root").join(exe.strip_prefix("/").unwrap_or(&exe));
        program::hindrance(&inside, library)
    });
    match hindrance {
        Some((why, remedy)) => format!("{why}; {remedy}"),
        None => {
            "sslsweep is not loaded; start it with: sslsweep run --stats -- PROGRAM".to_string()
        }
    }
}

/// Lists all services, a line for each.
pub fn doctor(library: &Path) -> Result<(), Failure> {
    let (seen, hidden) = processes::all()?;
    let reading = figures::read(&[]);
    let by_pid: HashMap<u32, &Figures> =
        reading.processes.iter().map(|figures| (figures.pid, figures)).collect();
    let service = |seen: &Seen| Service::of(seen, by_pid.get(&seen.pid).copied(), library);
    let services: Vec<Service> = seen.iter().filter_map(service).collect();
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
    match (hidden, user()) {
        (0, 0) => {}
        (0, _) if are_hidden() => say("processes of other users are hidden from you; ask as root"),
        (0, _) => {}
        (_, 0) => say(&format!("{processes} could not be looked at, not even as root")),
        _ => say(&format!("{processes} of other users could not be looked at; ask as root")),
    }
    reading.complaints.iter().for_each(|line| say(line));
    if services.iter().all(|service| service.taken_over) { Ok(()) } else { Err(Failure::silent(1)) }
}
