//! A process that runs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::elf::{self, Depth};
use super::{Report, program};
use crate::figures::{self, Figures};
use crate::run::plain;
use crate::selection::Target;
use crate::text::{printable, shown};
use crate::verdict::Verdict;

/// The loader's note that a program runs with more rights than its user's.
const AT_SECURE: u64 = 23;

/// Looks at a process.
pub fn examine(pid: u32) -> Result<(Report, String), String> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    if figures::start_of(pid).is_none() {
        return Err(figures::no_process(pid));
    }
    let why = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("no permission to look at process {pid}: ask as its user or as root")
        }
        io::ErrorKind::NotFound => {
            format!("process {pid} has no program: it is the kernel's, or is ending")
        }
        _ => format!("process {pid}: {}", plain(&error)),
    };
    let exe = fs::read_link(proc.join("exe")).map_err(why)?;
    let maps = fs::read(proc.join("maps")).map_err(why)?;
    let environment = fs::read(proc.join("environ")).map_err(why)?;

    let mut report = Report::default();
    report.yes("process", format!("{pid} runs {}", shown(&exe)));
    let elsewhere = namespaces(&proc, &mut report);
    let root = if elsewhere { proc.join("root") } else { PathBuf::from("/") };

    let mapped = files(&maps);
    let named = |start: &str| {
        mapped.iter().copied().filter(|path| is_named(path, start)).collect::<Vec<_>>()
    };
    let ours = named("libsslsweep.so");
    let own = elf::read_elf(&proc.join("exe"), Depth::Whole);
    let relinked = own.as_ref().is_some_and(|own| own.defines_ours);
    if let Some(path) = ours.first() {
        report.yes("sslsweep", format!("loaded: {}", printable(path)));
    } else if relinked {
        report.yes("sslsweep", "linked into the program");
    } else {
        why_not(pid, &proc, &root, &environment, &mut report);
    }
    let loaded = !ours.is_empty() || relinked;
    let hidden = is_overwritten(&environment);
    if hidden {
        report.note(
            "environment",
            "the process has written its title over it: its options cannot be seen; SSLSWEEP_VERBOSE=1 says them",
        );
    }
    let set = |name: &str| variable(&environment, name);
    if loaded && set("SSLSWEEP_DISABLE") == Some(b"1") {
        report.no("options", "SSLSWEEP_DISABLE=1: it stands aside", "start the program without it");
    }
    libssls(&root, &named("libssl.so"), &named("libcrypto.so"), loaded, &mut report);
    let figures = if loaded { published(pid, &mut report) } else { None };
    if let (false, Ok(path)) = (loaded, fs::canonicalize(proc.join("exe"))) {
        // The program says whether it could have been.
        let library = program::library(&mut report);
        let look = program::Look { root: &root, library: library.as_ref(), depth: Depth::Whole };
        let _ = look.at(&path, &mut report, 0);
    }
    let state = figures.as_ref().map(|figures| cache(figures, &mut report));
    let verdict = if report.hindered() {
        format!("process {pid} is not taken over.")
    } else if let Some(state) = state {
        format!("process {pid} runs with sslsweep; its cache is {state}.")
    } else if hidden {
        format!(
            "process {pid} has sslsweep loaded; it is in force unless SSLSWEEP_DISABLE=1 is set."
        )
    } else {
        format!("process {pid} runs with sslsweep.")
    };
    Ok((report, verdict))
}

/// The files that a process has mapped.
pub fn files(maps: &[u8]) -> BTreeSet<&[u8]> {
    maps.split(|&byte| byte == b'\n')
        .filter_map(|line| line.iter().position(|&byte| byte == b'/').map(|at| &line[at..]))
        .collect()
}

/// Returns whether a path's last part begins so.
pub fn is_named(path: &[u8], start: &str) -> bool {
    path.rsplit(|&byte| byte == b'/').next().is_some_and(|name| name.starts_with(start.as_bytes()))
}

/// Says where the process lives if not where we do; `true` if its files are not ours.
fn namespaces(proc: &Path, report: &mut Report) -> bool {
    let differs = |name: &str| match (
        fs::read_link(proc.join("ns").join(name)),
        fs::read_link(Path::new("/proc/self/ns").join(name)),
    ) {
        (Ok(its), Ok(ours)) => its != ours,
        _ => false,
    };
    let (files, numbers) = (differs("mnt"), differs("pid"));
    if files {
        report.note("namespaces", "it has a mount namespace of its own (a container, or a unit of systemd): its files may differ");
    }
    if numbers {
        report.note("namespaces", "it has a pid namespace of its own (a container)");
    }
    files
}

/// A variable of an environment.
pub fn variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environment
        .split(|&byte| byte == 0)
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// The environment that a process shows is memory of its own, over which it may write its title (nginx does).
fn is_overwritten(environment: &[u8]) -> bool {
    let first = environment.split(|&byte| byte == 0).next().unwrap_or_default();
    let name = first.split(|&byte| byte == b'=').next().unwrap_or_default();
    !environment.is_empty()
        && (name.is_empty()
            || name.len() == first.len()
            || name.contains(&b' ')
            || name.contains(&b'/'))
}

/// Why the library is not there.
fn why_not(pid: u32, proc: &Path, root: &Path, environment: &[u8], report: &mut Report) {
    let preload = variable(environment, "LD_PRELOAD").unwrap_or_default();
    let library = preload
        .split(|&byte| byte == b':' || byte == b' ')
        .find(|path| path.windows(11).any(|part| part == b"libsslsweep"));
    let Some(library) = library else {
        if is_overwritten(environment) {
            report.no(
                "sslsweep",
                "not loaded; what LD_PRELOAD named when the program began cannot be seen any more",
                "start it again: sslsweep run --stats -- PROGRAM, and see what it says on standard error",
            );
            return;
        }
        report.no(
            "sslsweep",
            "not loaded: LD_PRELOAD did not name it when the program began",
            "start it again: sslsweep run --stats -- PROGRAM",
        );
        return;
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(library));
    let inside = root.join(path.strip_prefix("/").unwrap_or(path));
    if secure(proc) {
        report.no(
            "sslsweep",
            "LD_PRELOAD names it, but the program runs with more rights than its user's: the system ignores that",
            "let the service manager give it these rights (User=, AmbientCapabilities=)",
        );
    } else if !inside.exists() {
        report.no(
            "sslsweep",
            format!(
                "LD_PRELOAD names {}, which is not among the files of process {pid}",
                shown(path)
            ),
            "install sslsweep where the process lives, or mount the library there",
        );
    } else {
        report.no(
            "sslsweep",
            "LD_PRELOAD names it, but it is not loaded",
            "see what the loader said on the program's standard error, and what is said below of the program",
        );
    }
}

fn secure(proc: &Path) -> bool {
    let words = fs::read(proc.join("auxv")).unwrap_or_default();
    let size = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, usize::from_ne_bytes) as u64;
    words
        .chunks_exact(2 * size)
        .any(|pair| word(&pair[..size]) == AT_SECURE && word(&pair[size..]) != 0)
}

fn libssls(root: &Path, paths: &[&[u8]], cryptos: &[&[u8]], loaded: bool, report: &mut Report) {
    let path_of = |bytes| Path::new(std::ffi::OsStr::from_bytes(bytes));
    let read = |path: &Path| {
        elf::read_elf(&root.join(path.strip_prefix("/").unwrap_or(path)), Depth::Whole)
    };
    for path in paths.iter().copied().map(path_of) {
        let Some(found) = read(path) else {
            report.note("libssl", format!("{}, which cannot be read (any more)", shown(path)));
            continue;
        };
        // Some know their version by their libcrypto alone; where there are several, by the one beside them.
        let beside = |other: &&Path| other.parent() == path.parent();
        let crypto = cryptos
            .iter()
            .copied()
            .map(path_of)
            .find(beside)
            .or_else(|| cryptos.first().copied().map(path_of).filter(|_| cryptos.len() == 1))
            .and_then(read);
        program::libssl(path, "", &found, crypto.iter(), report);
    }
    if paths.is_empty() && loaded {
        report.note("libssl", "none is loaded yet; it is taken over when one is");
    }
}

/// The figures that the process publishes, if it does.
fn published(pid: u32, report: &mut Report) -> Option<Figures> {
    let reading = figures::read(&[Target::Pid(pid)]);
    let Some(figures) = reading.processes.into_iter().next() else {
        report.note(
            "contexts",
            reading.complaints.first().cloned().unwrap_or_else(|| {
                "it publishes no statistics: it was started without sslsweep run --stats, has not used a cache \
                 since it was forked, or runs in a container, whose files only root sees"
                    .to_string()
            }),
        );
        return None;
    };
    if figures.left_shared > 0 {
        report.note(
            "shared memory",
            format!(
                "{} contexts are left to libssl, because they lie in memory that processes share",
                figures.left_shared
            ),
        );
    }
    report.yes(
        "contexts",
        format!(
            "{} managed now; {} have begun, {} have ended",
            figures.begun.saturating_sub(figures.ended),
            figures.begun,
            figures.ended
        ),
    );
    Some(figures)
}

/// The state of its cache, in a word; the reason and the setting go into the report.
fn cache(figures: &Figures, report: &mut Report) -> &'static str {
    let verdict = Verdict::of_process(figures);
    if !verdict.is_idle() {
        report.yes("cache", verdict.sentence());
        return if verdict == Verdict::InForce { "in force" } else { "perhaps in force" };
    }
    report.advise("cache", verdict.sentence(), verdict.remedy(&figures.program));
    "idle"
}
