//! Examines a program on the disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::elf::{self, Content, Depth, Elf};
use super::libraries::{Library, libcrypto, libssl, needed};
use super::processes::loaded_by;
use super::report::{Finding, Mark, Report};
use super::rights::{self, find};
use super::sharing;
use crate::share;
use crate::system::user;
use crate::text::shown;

/// The most scripts that run each other.
const MAX_SCRIPTS: usize = 4;

/// The C library that this command and its library are built for, and the other one.
const LIBCS: [&str; 2] =
    if cfg!(target_env = "musl") { ["musl", "glibc"] } else { ["glibc", "musl"] };

/// A way to look at programs.
pub struct Look<'a> {
    /// The root of the program's files.
    pub root: &'a Path,
    /// The library that would be preloaded.
    pub library: Option<&'a Elf>,
    /// The part of each file that is read.
    pub depth: Depth,
}

/// Examines a program by its path or name.
pub fn examine(name: &OsStr, preloaded: &Path) -> Result<(Report, String), String> {
    if name.is_empty() {
        return Err("the name of the program is empty".to_string());
    }
    let path = find(name).ok_or_else(|| format!("{}: not found", shown(name)))?;
    let mut report = Report::default();
    let library = check_library(preloaded, &mut report);
    let look = Look { root: Path::new("/"), library: library.as_ref(), depth: Depth::Whole };
    look.at(&path, &mut report, 0)?;
    if let Some(value) = std::env::var_os(share::SHARE) {
        let [key, wait] = [share::KEY, share::WAIT].map(std::env::var_os);
        let core = Some(preloaded);
        let program = share::Program { root: look.root, user: user(), core, mapped: None };
        let [key, wait] = [&key, &wait].map(|it| it.as_deref().map(OsStr::as_bytes));
        sharing::sharing(value.as_bytes(), key, wait, &path, &program, &mut report);
    }
    let (name, has) = (shown(name), |mark, topic| report.has(mark, topic));
    let verdict = if has(Mark::Note, "itself") {
        format!(
            "{name} is sslsweep, and uses no OpenSSL: ask about the program that is to run with it."
        )
    } else if has(Mark::Note, "kind") {
        report.note("loaded by", loaded_by(&path));
        match report.is_hindered() {
            true => format!("{name} is a library that cannot be taken over."),
            false => format!(
                "{name} is a library, which is taken over with the program that loads it: sslsweep doctor PROGRAM|PID"
            ),
        }
    } else if report.is_hindered() {
        format!("{name} cannot be taken over.")
    } else if report.has_no() {
        format!("{name} can be taken over, but cannot share sessions.")
    } else if has(Mark::Note, "libssl") {
        format!("{name} is taken over if it loads libssl: sslsweep run -- {name}")
    } else {
        format!("{name} can be taken over: sslsweep run -- {name}")
    };
    Ok((report, verdict))
}

/// The reason why this library can have no effect on a program, and the remedy; `None` also if that is not known. Reads
/// only headers.
pub fn hindrance(path: &Path, library: &Path) -> Option<(String, String)> {
    let library = elf::read_elf(library, Depth::Headers);
    let look = Look { root: Path::new("/"), library: library.as_ref(), depth: Depth::Headers };
    let mut report = Report::default();
    look.at(path, &mut report, 0).ok()?;
    let is_cause = |finding: &Finding| {
        finding.mark == Mark::No
            && ["rights", "machine", "linkage", "libssl"].contains(&finding.topic)
    };
    let cause = report.findings.into_iter().find(is_cause)?;
    Some((cause.text, cause.remedy.unwrap_or_default()))
}

/// The reason why the library cannot be preloaded, if there is one.
pub fn cannot_preload(library: &Path) -> Option<String> {
    let name = shown(library);
    if std::fs::File::open(library).is_err() {
        return Some(format!("{name} is missing or not readable"));
    }
    // ld.so would take the pieces for other libraries, warn, and start the program without ours.
    let splits = |&byte: &u8| byte == b':' || byte.is_ascii_whitespace() || byte == 0x0b;
    library.as_os_str().as_bytes().iter().any(splits).then(|| {
        format!("cannot preload {name}: LD_PRELOAD cannot hold a path with spaces or colons")
    })
}

/// Reports whether the library can be preloaded, and reads it.
pub fn check_library(path: &Path, report: &mut Report) -> Option<Elf> {
    match cannot_preload(path) {
        Some(why) => report.no(
            "library",
            why,
            "install sslsweep again, in a folder without spaces and colons",
        ),
        None => report.yes("library", shown(path)),
    }
    elf::read_elf(path, Depth::Headers)
}

/// The machine that this command was built for.
fn native() -> (u8, u16) {
    elf::read_elf(Path::new("/proc/self/exe"), Depth::Headers).map_or((0, 0), |own| own.kind)
}

impl Look<'_> {
    /// Reports all about a program.
    pub fn at(&self, path: &Path, report: &mut Report, depth: usize) -> Result<(), String> {
        let program = match elf::read(path, self.depth)? {
            Content::Elf(program) => program,
            Content::Script(line) => {
                rights::to_run(path, report);
                return self.script(path, &line, report, depth);
            }
            Content::Other => {
                let text = format!("{} is neither an ELF file nor a script", shown(path));
                report.no("program", text, "name the program itself");
                return Ok(());
            }
        };
        let kind = self.library.map_or_else(native, |library| library.kind);
        let about = format!("{}, {}", shown(path), elf::kind_name(program.kind));
        if program.is_library {
            report.yes("file", about);
            report.note("kind", "a shared library, which programs load");
        } else {
            rights::to_run(path, report);
            rights::to_preload(path, report);
            report.yes("program", about);
        }
        if program.kind != kind {
            let (its, ours) = (elf::kind_name(program.kind), elf::kind_name(kind));
            report.no(
                "machine",
                format!("it is for {its}, and the library for {ours}"),
                "build sslsweep for the program's machine, and use that",
            );
        } else if program.is_command || program.is_library && program.defines_ours {
            report.note("itself", "it is sslsweep itself");
        } else if program.is_library {
            self.library(path, &program, report);
        } else {
            self.linkage(path, &program, report);
        }
        Ok(())
    }

    fn script(
        &self,
        path: &Path,
        line: &[u8],
        report: &mut Report,
        depth: usize,
    ) -> Result<(), String> {
        let mut words =
            line.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty()).peekable();
        // env runs its first argument that is no option.
        words.next_if(|word| word.ends_with(b"/env"));
        let interpreter = words.find(|word| !word.starts_with(b"-"));
        let Some(interpreter) = interpreter.and_then(|word| find(OsStr::from_bytes(word))) else {
            let text = format!("{} is a script whose interpreter is missing", shown(path));
            report.no("program", text, "install the interpreter");
            return Ok(());
        };
        let (script, runs) = (shown(path), shown(&interpreter));
        report.note("program", format!("{script} is a script that {runs} runs: see {runs}"));
        if depth == MAX_SCRIPTS {
            return Err(format!("{script}: scripts that run each other"));
        }
        self.at(&interpreter, report, depth + 1)
    }

    fn needed(&self, path: &Path, program: &Elf, report: &mut Report) -> Vec<Library> {
        needed(path, program, self.root, self.depth, report)
    }

    /// Reports what a shared library has to do with libssl.
    fn library(&self, path: &Path, library: &Elf, report: &mut Report) {
        let libraries = self.needed(path, library, report);
        if library.defines_ssl {
            libssl(path, "", library, libcrypto(&libraries), report);
        } else if !report_libssl(&libraries, report) {
            report.no("use", "it does not use OpenSSL", "none: there is nothing to take over");
        }
    }

    /// Reports how a program is linked, and with which libssl.
    fn linkage(&self, path: &Path, program: &Elf, report: &mut Report) {
        let remedy = "use a build that links libssl.so";
        let inside = match (program.other, &program.version) {
            (Some(name), _) if program.defines_ssl => Some(format!("{name} inside")),
            _ if !program.has_libssl => None,
            (_, Some(version)) => Some(format!("libssl inside, {version}")),
            (_, None) => Some("libssl inside".to_string()),
        };
        let Some(interpreter) = &program.interpreter else {
            let more = match inside {
                Some(inside) => format!(", with its own {inside}"),
                None if program.go => ", a Go program, which has TLS of its own".to_string(),
                None => String::new(),
            };
            report.no("linkage", format!("it is statically linked{more}"), remedy);
            return;
        };
        if interpreter.contains("ld-musl") != cfg!(target_env = "musl") {
            let [ours, its] = LIBCS;
            report.no(
                "linkage",
                format!("it is built for {its}, and the library for {ours}: the program does not start with it"),
                format!("use a build for {ours}; do not preload the library into this one"),
            );
            return;
        }
        report.yes("linkage", "dynamic");
        if program.defines_ours {
            report.yes("relinked", "sslsweep is linked in already");
        } else if let Some(inside) = inside {
            report.no("libssl", format!("it has its own {inside}"), remedy);
            return;
        }
        let libraries = self.needed(path, program, report);
        if !report_libssl(&libraries, report) {
            report_no_libssl(program, &libraries, report);
        }
    }
}

/// Reports each libssl among these; returns whether there is one.
fn report_libssl(libraries: &[Library], report: &mut Report) -> bool {
    let mut found = false;
    for Library { name, path, parent, elf } in libraries {
        if elf.soname.as_deref().unwrap_or(name).starts_with("libssl.so")
            || elf.defines_ssl && !elf.defines_ours
        {
            found = true;
            libssl(path, parent, elf, libcrypto(libraries), report);
        }
    }
    found
}

/// Reports what a program without libssl has in its place.
fn report_no_libssl(program: &Elf, libraries: &[Library], report: &mut Report) {
    let has = |start: &str| libraries.iter().any(|library| library.name.starts_with(start));
    let with = [
        ("libgnutls.so", " (it has GnuTLS)"),
        ("libnss3.so", " (it has NSS)"),
        ("libmbedtls.so", " (it has Mbed TLS)"),
        ("libwolfssl.so", " (it has wolfSSL)"),
    ]
    .into_iter()
    .find_map(|(start, with)| has(start).then_some(with))
    .unwrap_or_default();
    let is_libc = |name: &str| {
        ["libc.", "libdl.so", "ld-linux", "ld-musl", "libm.so"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let loads = |library: &Library| library.elf.calls_dlopen && !is_libc(&library.name);
    if program.calls_dlopen || libraries.iter().any(loads) {
        report.note(
            "libssl",
            format!("not needed at the start{with}; it may load it later, and is taken over then"),
        );
    } else {
        report.no(
            "use",
            format!("it does not use OpenSSL{with}"),
            "none: there is nothing to take over; if it starts a program that does, ask about that one",
        );
    }
}
