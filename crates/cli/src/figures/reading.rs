//! Reads all statistics files, including those of containers.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sslsweep_figures::files::{FOLDER, start_of};
use sslsweep_figures::processes::{Processes, are_hidden};

use super::file::{Absent, Entry, entries};
use super::process::Figures;
use crate::selection::{Target, takes};
use crate::system::user;
use crate::text::{plain, printable};

/// The result of reading.
#[derive(Debug, Default)]
pub struct Reading {
    /// The processes that can be shown.
    pub processes: Vec<Figures>,
    /// A line for each file that should be readable but is not.
    pub complaints: Vec<String>,
    /// A line for each family that has processes without figures.
    pub notes: Vec<String>,
    /// The number of other users' files that we may not read or, for root, cannot use.
    pub foreign: usize,
}

/// Reads the figures of these processes, or of all.
pub fn read(targets: &[Target]) -> Reading {
    let mut reading = Reading::default();
    let processes = Processes::default();
    let entries = match entries(Path::new(FOLDER), true) {
        Ok(entries) => entries,
        Err(error) => {
            reading.complaints.push(format!("{FOLDER} cannot be read: {}", plain(&error)));
            return reading;
        }
    };
    let mut seen = HashSet::new();
    for entry in entries.into_iter().chain(containers(&processes)) {
        let named = targets.contains(&Target::Pid(entry.name.pid));
        let asked_for = targets.is_empty() || named;
        match entry.read(&processes) {
            Ok(found) if !seen.insert(found.file) => {}
            Ok(found) => {
                let before = reading.processes.len();
                let meant =
                    found.processes.into_iter().filter(|it| takes(targets, it.pid, &it.program));
                reading.processes.extend(meant);
                if found.uncounted > 0 && (asked_for || reading.processes.len() > before) {
                    reading.notes.push(format!(
                        "{}: {} processes found no room in it, and are not counted",
                        entry.path.display(),
                        found.uncounted
                    ));
                }
            }
            Err(Absent::Foreign) => reading.foreign += 1,
            Err(Absent::Stale(_) | Absent::Elsewhere) => {}
            // A file of another process does not concern these targets.
            Err(Absent::Bad(_)) if !asked_for => {}
            Err(Absent::Bad(why)) => reading.complaints.push(why),
            // Another user cannot fill root's output with complaints, unless root asks for this process.
            Err(Absent::BadForeign(why)) if named => reading.complaints.push(why),
            Err(Absent::BadForeign(_)) => reading.foreign += 1,
        }
    }
    reading.processes.sort_by_key(|figures| (figures.pid, figures.start));
    reading
}

/// Reads the figures of these processes again, without those that have ended.
pub fn again(former: &[Figures]) -> Vec<Figures> {
    let all = Processes::default();
    let paths: BTreeSet<&Path> = former.iter().map(|it| it.source.path.as_path()).collect();
    let found = paths.into_iter().filter_map(|path| Entry::at(path)?.read(&all).ok());
    let same = |figures: &Figures| {
        former.iter().any(|it| (it.pid, it.start) == (figures.pid, figures.start))
    };
    found.flat_map(|found| found.processes).filter(same).collect()
}

/// Returns whether the process still runs. (A process that only waits for its parent has no program any more.)
pub fn lives(figures: &Figures) -> bool {
    start_of(figures.pid) == Some(figures.start)
        && fs::read_link(format!("/proc/{}/exe", figures.pid))
            .map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// The files of containers and of processes that have changed their root, which only root may see.
fn containers(processes: &Processes) -> Vec<Entry> {
    let folder = |path: &Path| {
        let about = fs::symlink_metadata(path).ok().filter(|about| about.is_dir())?;
        Some((about.dev(), about.ino()))
    };
    if user() != 0 {
        return Vec::new();
    }
    let mut folders: HashSet<_> = folder(Path::new(FOLDER)).into_iter().collect();
    let mut found = Vec::new();
    for seen in processes.seen() {
        // A container could put a link in place of either, which would lead to our own files.
        let dev = PathBuf::from(format!("/proc/{}/root/dev", seen.pid));
        let shm = dev.join("shm");
        if folder(&dev).is_some() && folder(&shm).is_some_and(|its| folders.insert(its)) {
            found.extend(entries(&shm, false).unwrap_or_default());
        }
    }
    found
}

/// Reads the figures of these processes; the error says why one of them has none.
pub fn read_each(targets: &[Target]) -> Result<Reading, String> {
    let reading = read(targets);
    missing(targets, &reading).map_or(Ok(reading), Err)
}

/// The reason why the first target without figures has none; `None` if each target has some.
pub fn missing(targets: &[Target], reading: &Reading) -> Option<String> {
    let means = |target: &Target, it: &Figures| target.means(it.pid, &it.program);
    let missing = |target: &&Target| !reading.processes.iter().any(|it| means(target, it));
    Some(match targets.iter().find(missing)? {
        Target::Pid(pid) => why_nothing(*pid, reading),
        Target::Name(name) => format!(
            "no process named {} publishes statistics; start it with: sslsweep run --stats -- PROGRAM",
            printable(name.as_bytes())
        ),
    })
}

/// The message about a process that does not exist, or is hidden.
pub fn no_process(pid: u32) -> String {
    if are_hidden() {
        format!(
            "there is no process {pid}, or it is another user's and hidden from you; ask as root"
        )
    } else {
        format!("there is no process {pid}")
    }
}

/// The reason why this process has no figures.
fn why_nothing(pid: u32, reading: &Reading) -> String {
    if let Some(complaint) = reading.complaints.first() {
        return complaint.clone();
    }
    if start_of(pid).is_none() {
        return no_process(pid);
    }
    let owner = fs::metadata(format!("/proc/{pid}")).map_or_else(|_| user(), |about| about.uid());
    if reading.foreign > 0 && owner != user() {
        return format!(
            "no permission: process {pid} is another user's; ask as that user or as root"
        );
    }
    format!(
        "process {pid} publishes no statistics: it was started without sslsweep run --stats, or has not used a \
         cache since it was forked (sslsweep doctor {pid} says more)"
    )
}
