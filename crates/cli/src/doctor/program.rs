//! A program, as it lies on the disk.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::elf::{self, Content, Depth, Elf};
use super::{Finding, Mark, Report};
use crate::run;
use crate::text::shown;

/// The version nodes under which callers of libssl reach the library.
const NODES: [&str; 3] = ["OPENSSL_1_1_0", "OPENSSL_3.0.0", "OPENSSL_4.0.0"];

/// Scripts that run scripts, and libraries that need libraries, end somewhere.
const MOST_SCRIPTS: usize = 4;
const MOST_LIBRARIES: usize = 1000;

/// The facts that are known beforehand, and how much of each file is read.
pub struct Look<'a> {
    pub root: &'a Path,
    /// The library that would be preloaded.
    pub library: Option<&'a Elf>,
    pub depth: Depth,
}

/// Looks at a program by its path or name.
pub fn examine(name: &OsStr) -> Result<(Report, String), String> {
    if name.is_empty() {
        return Err("the name of the program is empty".to_string());
    }
    let path = find(name).ok_or_else(|| format!("{}: not found", shown(name)))?;
    let mut report = Report::default();
    let library = library(&mut report);
    let look = Look { root: Path::new("/"), library: library.as_ref(), depth: Depth::Whole };
    look.at(&path, &mut report, 0)?;
    let (name, has) = (shown(name), |mark, topic| report.has(mark, topic));
    let verdict = if has(Mark::Note, "itself") {
        format!(
            "{name} is sslsweep, and uses no OpenSSL: ask about the program that is to run with it."
        )
    } else if has(Mark::Note, "kind") {
        super::services::loaded_by(&path, &mut report);
        match report.hindered() {
            true => format!("{name} is a library that cannot be taken over."),
            false => format!(
                "{name} is a library, which is taken over with the program that loads it: sslsweep doctor PROGRAM|PID"
            ),
        }
    } else if report.hindered() {
        format!("{name} cannot be taken over.")
    } else if has(Mark::Note, "libssl") {
        format!("{name} is taken over if it loads libssl: sslsweep run -- {name}")
    } else {
        format!("{name} can be taken over: sslsweep run -- {name}")
    };
    Ok((report, verdict))
}

/// Why sslsweep can have no effect on a program, and what to do; `None` also where that can't be told. No more is read
/// than headers.
pub fn hindrance(path: &Path) -> Option<(String, String)> {
    let library = elf::read_elf(&run::library(), Depth::Headers);
    let look = Look { root: Path::new("/"), library: library.as_ref(), depth: Depth::Headers };
    let mut report = Report::default();
    look.at(path, &mut report, 0).ok()?;
    let is_cause = |finding: &&Finding| {
        finding.mark == Mark::No
            && ["rights", "machine", "linkage", "libssl"].contains(&finding.topic)
    };
    let finding = report.findings.iter().find(is_cause)?;
    Some((finding.text.clone(), finding.remedy.clone().unwrap_or_default()))
}

/// The file that is run by this name.
pub fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file() && executable(path))
}

fn executable(path: &Path) -> bool {
    CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| {
        // SAFETY: the path is a string.
        unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
    })
}

/// The library itself: there, and what it is for.
pub fn library(report: &mut Report) -> Option<Elf> {
    let path = run::library();
    match run::hindrance(&path) {
        Some(why) => report.no(
            "library",
            why,
            "install sslsweep again, in a folder without spaces and colons",
        ),
        None => report.yes("library", shown(&path)),
    }
    elf::read_elf(&path, Depth::Headers)
}

impl Look<'_> {
    /// All about a program, below the root.
    pub fn at(&self, path: &Path, report: &mut Report, depth: usize) -> Result<(), String> {
        let program = match elf::read(path, self.depth)? {
            Content::Elf(program) => program,
            Content::Script(line) => {
                rights_to_run(path, report);
                return self.script(path, &line, report, depth);
            }
            Content::Other => {
                report.no(
                    "program",
                    format!("{} is neither an ELF file nor a script", shown(path)),
                    "name the program itself",
                );
                return Ok(());
            }
        };
        let kind = self.library.map_or_else(native, |library| library.kind);
        let about = format!("{}, {}", shown(path), elf::kind_name(program.kind));
        if program.is_library {
            report.yes("file", about);
            report.note("kind", "a shared library, which programs load");
        } else {
            rights_to_run(path, report);
            rights(path, report);
            report.yes("program", about);
        }
        if program.kind != kind {
            report.no(
                "machine",
                format!(
                    "it is for {}, and the library for {}",
                    elf::kind_name(program.kind),
                    elf::kind_name(kind)
                ),
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
        let words: Vec<&OsStr> = line
            .split(|&byte| byte == b' ' || byte == b'\t')
            .filter(|word| !word.is_empty())
            .map(OsStr::from_bytes)
            .collect();
        // env runs what its argument names, but for options of its own.
        let by_env = words.first().is_some_and(|word| word.as_bytes().ends_with(b"/env"));
        let words =
            words.iter().skip(usize::from(by_env)).find(|word| !word.as_bytes().starts_with(b"-"));
        let Some(interpreter) = words.and_then(|word| find(word)) else {
            report.no(
                "program",
                format!("{} is a script whose interpreter is missing", shown(path)),
                "install that",
            );
            return Ok(());
        };
        report.note(
            "program",
            format!(
                "{} is a script that {} runs: that is looked at",
                shown(path),
                shown(&interpreter)
            ),
        );
        if depth == MOST_SCRIPTS {
            return Err(format!("{}: scripts that run each other", shown(path)));
        }
        self.at(&interpreter, report, depth + 1)
    }

    /// A shared library: it is libssl, or uses it, or neither.
    fn library(&self, path: &Path, program: &Elf, report: &mut Report) {
        let libraries = self.closure(path, program, report);
        if program.defines_ssl {
            libssl(path, "", program, libraries.iter().map(|(_, _, _, library)| library), report);
        } else if !self.libssls(&libraries, report) {
            report.no("use", "it does not use OpenSSL", "none: there is nothing to take over");
        }
    }

    /// Says of each libssl among these what it is; `false` if there is none.
    fn libssls(&self, libraries: &[Library], report: &mut Report) -> bool {
        let mut found = false;
        for (name, path, parent, library) in libraries {
            if library.soname.as_deref().unwrap_or(name).starts_with("libssl.so")
                || library.defines_ssl && !library.defines_ours
            {
                found = true;
                let all = libraries.iter().map(|(_, _, _, library)| library);
                libssl(path, parent, library, all, report);
            }
        }
        found
    }

    fn linkage(&self, path: &Path, program: &Elf, report: &mut Report) {
        let remedy = "use a build that links libssl.so";
        let inside = program
            .other
            .filter(|_| program.defines_ssl)
            .map(|name| (name, String::new()))
            .or_else(|| {
                let version = program
                    .version
                    .clone()
                    .map(|version| format!(", {version}"))
                    .unwrap_or_default();
                program.has_libssl.then_some(("libssl", version))
            });
        let Some(interpreter) = &program.interpreter else {
            let what = match &inside {
                Some((name, version)) => format!(", with its own {name} inside{version}"),
                None if program.go => ", a Go program, which has TLS of its own".to_string(),
                None => String::new(),
            };
            report.no("linkage", format!("it is statically linked{what}"), remedy);
            return;
        };
        if interpreter.contains("ld-musl") {
            report.no(
                "linkage",
                "it is built for musl, and the library for glibc: with that it does not start",
                "use a build for glibc; do not preload the library into this one",
            );
            return;
        }
        report.yes("linkage", "dynamic");
        if program.defines_ours {
            report.yes("relinked", "sslsweep is linked in already");
        }
        if let (Some((name, version)), false) = (&inside, program.defines_ours) {
            report.no("libssl", format!("it has its own {name} inside{version}"), remedy);
            return;
        }
        let libraries = self.closure(path, program, report);
        if self.libssls(&libraries, report) {
            return;
        }
        let other = [
            ("libgnutls.so", "GnuTLS"),
            ("libnss3.so", "NSS"),
            ("libmbedtls.so", "Mbed TLS"),
            ("libwolfssl.so", "wolfSSL"),
        ]
        .into_iter()
        .find(|(start, _)| libraries.iter().any(|(name, ..)| name.starts_with(start)));
        let c = |name: &str| {
            ["libc.so", "libdl.so", "ld-linux", "libm.so"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        let may = program.calls_dlopen
            || libraries.iter().any(|(name, _, _, it)| it.calls_dlopen && !c(name));
        let with = other.map(|(_, name)| format!(" (it has {name})")).unwrap_or_default();
        if may {
            report.note(
                "libssl",
                format!(
                    "not needed at the start{with}; it may load it later, and is taken over then"
                ),
            );
        } else {
            report.no(
            "use",
            format!("it does not use OpenSSL{with}"),
            "none: there is nothing to take over; if it starts a program that does, ask about that one",
        );
        }
    }

    /// The libraries that are loaded with a program, as the loader would find them.
    fn closure(&self, path: &Path, program: &Elf, report: &mut Report) -> Vec<Library> {
        let folders = system_folders(self.root);
        let extra: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
            .map(|paths| std::env::split_paths(&paths).collect())
            .unwrap_or_default();
        let mut seen = HashSet::new();
        let mut found: Vec<Library> = Vec::new();
        let mut waiting = vec![(
            path.to_path_buf(),
            shown(path.file_name().unwrap_or_default()),
            program.clone(),
        )];
        while let Some((owner, parent, elf)) = waiting.pop() {
            let origin = owner.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            let given = |paths: &[String]| -> Vec<PathBuf> {
                paths
                    .iter()
                    .map(|it| it.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin).into())
                    .collect()
            };
            let rpath = if elf.runpath.is_empty() {
                [given(&elf.rpath), given(&program.rpath)].concat()
            } else {
                vec![]
            };
            for name in elf.needed {
                if seen.len() == MOST_LIBRARIES || !seen.insert(name.clone()) {
                    continue;
                }
                let places: Vec<PathBuf> = if name.contains('/') {
                    vec![PathBuf::from(&name)]
                } else {
                    let runpath = given(&elf.runpath);
                    rpath
                        .iter()
                        .chain(&extra)
                        .chain(&runpath)
                        .chain(&folders)
                        .map(|it| it.join(&name))
                        .collect()
                };
                let there = places.into_iter().find_map(|place| {
                    let library = elf::read_elf(&place, self.depth)?;
                    (library.kind == program.kind).then_some((place, library))
                });
                match there {
                    Some((place, library)) => {
                        waiting.push((place.clone(), name.clone(), library.clone()));
                        found.push((name, place, parent.clone(), library));
                    }
                    None => report.note(
                        "libraries",
                        format!("{} is not found", crate::text::printable(name.as_bytes())),
                    ),
                }
            }
        }
        found
    }
}

/// The machine that this command was built for.
fn native() -> (u8, u16) {
    elf::read_elf(Path::new("/proc/self/exe"), Depth::Headers).map_or((0, 0), |own| own.kind)
}

/// The right to be run at all.
fn rights_to_run(path: &Path, report: &mut Report) {
    if !executable(path) {
        report.no(
            "program",
            format!("{} must not be run", shown(path)),
            "chmod +x, if it is a program",
        );
    }
}

/// Rights that make the loader ignore LD_PRELOAD.
fn rights(path: &Path, report: &mut Report) {
    let Ok(about) = std::fs::metadata(path) else { return };
    // SAFETY: a plain query.
    let user = unsafe { libc::getuid() };
    // SAFETY: the same.
    let group = unsafe { libc::getgid() };
    let remedy = "let the service manager give it these rights (User=, AmbientCapabilities=), or relink it with sslsweep";
    for (bit, name, gains) in [
        (0o4000, "set-user-ID", about.uid() != user),
        (0o2000, "set-group-ID", about.gid() != group),
    ] {
        if about.mode() & bit == 0 {
            continue;
        }
        if gains {
            report.no(
                "rights",
                format!("it is {name}: the system ignores LD_PRELOAD for it"),
                remedy,
            );
        } else {
            report.note(
                "rights",
                format!("it is {name}: the system ignores LD_PRELOAD when another user runs it"),
            );
        }
    }
    let capabilities = CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| {
        // SAFETY: two strings, and no buffer: only the size is asked for.
        unsafe {
            libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0)
                > 0
        }
    });
    if capabilities && user == 0 {
        report.note(
            "rights",
            "it has file capabilities: the system ignores LD_PRELOAD when another user runs it",
        );
    } else if capabilities {
        report.no(
            "rights",
            "it has file capabilities: the system ignores LD_PRELOAD for it",
            remedy,
        );
    }
}

/// Says of a libssl what it is.
pub fn libssl<'a>(
    path: &Path,
    parent: &str,
    libssl: &Elf,
    mut all: impl Iterator<Item = &'a Elf>,
    report: &mut Report,
) {
    let soname = libssl.soname.clone().unwrap_or_default();
    let crypto = all.find(|library| {
        library.soname.as_deref().is_some_and(|name| name.starts_with("libcrypto.so"))
    });
    let version = libssl
        .version
        .clone()
        .or_else(|| crypto?.version.clone())
        .unwrap_or_else(|| "of unknown version".into());
    let by = if parent.is_empty() { String::new() } else { format!(", for {parent}") };
    if let Some(other) = libssl.other {
        report.no("libssl", format!("{} is {other}{by}", shown(path)), "use a build for OpenSSL");
    } else if soname.starts_with("libssl.so.0") || soname.starts_with("libssl.so.1.0") {
        report.no(
            "libssl",
            format!("{} is {version}{by}, older than 1.1.1", shown(path)),
            "use OpenSSL 1.1.1 or later",
        );
    } else if !NODES.contains(&libssl.node.as_deref().unwrap_or_default()) {
        let node = libssl.node.as_deref().unwrap_or("none");
        report.no(
            "libssl",
            format!(
                "{} is {version}{by}, whose functions lack OpenSSL's version nodes ({node}): calls go past the library",
                shown(path)
            ),
            "use a libssl as distributions build it, or relink the program with libsslsweep.a",
        );
    } else {
        let how = if libssl.symbolic {
            "binds its own calls itself"
        } else if libssl.own_plt {
            "its own calls go through the PLT"
        } else {
            "no calls of its own to be seen"
        };
        report.yes("libssl", format!("{}, {version}{by}; {how}", shown(path)));
    }
}

type Library = (String, PathBuf, String, Elf);

/// The folders of `/etc/ld.so.conf` and the usual ones. Its cache would say the same; it is a format of its own.
fn system_folders(root: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut files = vec![root.join("etc/ld.so.conf")];
    if let Ok(more) = std::fs::read_dir(root.join("etc/ld.so.conf.d")) {
        let mut more: Vec<PathBuf> = more.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.sort();
        files.extend(
            more.into_iter().filter(|path| path.extension().is_some_and(|end| end == "conf")),
        );
    }
    for file in files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        folders.extend(
            text.lines()
                .map(str::trim)
                .filter(|line| line.starts_with('/'))
                .map(|it| root.join(&it[1..])),
        );
    }
    for folder in ["lib64", "usr/lib64", "lib", "usr/lib"] {
        folders.push(root.join(folder));
    }
    folders
}
