//! Examines a running process.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sslsweep_figures::files::start_of;

use super::elf::{self, Depth};
use super::libraries;
use super::processes::{files, is_named, variable};
use super::program::{Look, check_library};
use super::report::Report;
use super::sharing;
use crate::figures::{self, Figures, Verdict};
use crate::selection::Target;
use crate::share;
use crate::text::{plain, printable, shown};

/// Tells the loader that a program has more rights than its user.
const AT_SECURE: u64 = 23;

/// Examines a process.
pub fn examine(pid: u32, library: &Path) -> Result<(Report, String), String> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    if start_of(pid).is_none() {
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
        report.no("options", "SSLSWEEP_DISABLE=1 switches it off", "start the program without it");
    }
    let share = set(share::SHARE).filter(|_| loaded);
    if let Some(value) = share {
        let user = sharing::user_of(&proc).unwrap_or(0);
        let core = ours.first().map(|path| path_of(path));
        let mapped: Vec<&[u8]> = mapped.iter().copied().collect();
        let program = share::Program { root: &root, user, core, mapped: Some(&mapped) };
        sharing::sharing(value, set(share::KEY), set(share::WAIT), &exe, &program, &mut report);
    } else if !named("libsslsweep-share.so").is_empty() {
        report.yes(sharing::TOPIC, "the share library is loaded");
    }
    libssls(&root, &named("libssl.so"), &named("libcrypto.so"), loaded, &mut report);
    let figures = if loaded { published(pid, &mut report) } else { None };
    if let (false, Ok(path)) = (loaded, fs::canonicalize(proc.join("exe"))) {
        // The program shows whether it could have been loaded.
        let library = check_library(library, &mut report);
        let look = Look { root: &root, library: library.as_ref(), depth: Depth::Whole };
        let _ = look.at(&path, &mut report, 0);
    }
    let state = figures.as_ref().map(|figures| cache(figures, &mut report));
    let verdict = if report.is_hindered() {
        format!("process {pid} is not taken over.")
    } else if report.has_no() {
        format!("process {pid} runs with sslsweep, but cannot share sessions.")
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

/// Reports namespaces that are not ours; returns whether the files are others.
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

/// Returns whether the process has written its title over its environment, as nginx does.
fn is_overwritten(environment: &[u8]) -> bool {
    let first = environment.split(|&byte| byte == 0).next().unwrap_or_default();
    let name = first.split(|&byte| byte == b'=').next().unwrap_or_default();
    !environment.is_empty()
        && (name.is_empty()
            || name.len() == first.len()
            || name.contains(&b' ')
            || name.contains(&b'/'))
}

/// Reports why the library is not loaded.
fn why_not(pid: u32, proc: &Path, root: &Path, environment: &[u8], report: &mut Report) {
    let preload = variable(environment, "LD_PRELOAD").unwrap_or_default();
    let library = preload
        .split(|byte| b": ".contains(byte))
        .find(|path| path.windows(11).any(|part| part == b"libsslsweep"))
        .map(path_of);
    let (text, remedy) = match library {
        None if is_overwritten(environment) => (
            "not loaded; what LD_PRELOAD named when the program began cannot be seen any more",
            "start it again: sslsweep run --stats -- PROGRAM, and see what it says on standard error",
        ),
        None => (
            "not loaded: LD_PRELOAD did not name it when the program began",
            "start it again: sslsweep run --stats -- PROGRAM",
        ),
        Some(_) if is_secure(proc) => (
            "LD_PRELOAD names it, but the program runs with more rights than its user's: the system ignores that",
            "let the service manager give it these rights (User=, AmbientCapabilities=)",
        ),
        Some(path) if !below(root, path).exists() => (
            &*format!("LD_PRELOAD names {}, which does not exist for process {pid}", shown(path)),
            "install sslsweep where the process lives, or mount the library there",
        ),
        Some(_) => (
            "LD_PRELOAD names it, but it is not loaded",
            "see what the loader said on the program's standard error, and what is said below of the program",
        ),
    };
    report.no("sslsweep", text, remedy);
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A path of a process, below the root of the process.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Returns whether the loader runs the program with more rights than its user's.
fn is_secure(proc: &Path) -> bool {
    let words = fs::read(proc.join("auxv")).unwrap_or_default();
    let size = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, usize::from_ne_bytes) as u64;
    words
        .chunks_exact(2 * size)
        .any(|pair| word(&pair[..size]) == AT_SECURE && word(&pair[size..]) != 0)
}

/// Reports each libssl of these paths.
fn libssls(root: &Path, paths: &[&[u8]], cryptos: &[&[u8]], loaded: bool, report: &mut Report) {
    let read = |path: &Path| elf::read_elf(&below(root, path), Depth::Whole);
    for path in paths.iter().copied().map(path_of) {
        let Some(found) = read(path) else {
            report.note("libssl", format!("{}, which can no longer be read", shown(path)));
            continue;
        };
        // Of several libcryptos, the one in the same folder has its version.
        let beside = cryptos.iter().copied().map(path_of).find(|it| it.parent() == path.parent());
        let only = cryptos.first().filter(|_| cryptos.len() == 1).copied().map(path_of);
        let crypto = beside.or(only).and_then(read);
        libraries::libssl(path, "", &found, crypto.as_ref(), report);
    }
    if paths.is_empty() && loaded {
        report.note("libssl", "none is loaded yet; it is taken over when one is");
    }
}

/// The figures that the process publishes; the report says why there are none.
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

/// The state of the cache in words; the report gets the reason and the setting.
fn cache(figures: &Figures, report: &mut Report) -> &'static str {
    let verdict = Verdict::of_process(figures);
    if !verdict.is_idle() {
        report.yes("cache", verdict.sentence());
        return if verdict == Verdict::InForce { "in force" } else { "perhaps in force" };
    }
    report.advise("cache", verdict.sentence(), verdict.remedy(&figures.program));
    "idle"
}
