//! The libraries that are loaded with a program, and the libssl among them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::elf::{self, Depth, Elf};
use super::report::Report;
use crate::text::shown;

/// The version nodes under which callers of libssl reach the library. (musl knows none.)
const NODES: [&str; 3] = ["OPENSSL_1_1_0", "OPENSSL_3.0.0", "OPENSSL_4.0.0"];

/// The most libraries that are read for one program.
const MAX_LIBRARIES: usize = 1000;

/// A library that is loaded with a program.
pub struct Library {
    /// The name by which it is needed.
    pub name: String,
    /// The file that the loader would find.
    pub path: PathBuf,
    /// The name of the file that needs it.
    pub parent: String,
    /// The contents of the file.
    pub elf: Elf,
}

/// Finds the libraries of a program as the loader would, below this root. The report gets those that are missing.
pub fn needed(
    path: &Path,
    program: &Elf,
    root: &Path,
    depth: Depth,
    report: &mut Report,
) -> Vec<Library> {
    let folders = system_folders(root);
    let extra: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|paths| std::env::split_paths(&paths).collect())
        .unwrap_or_default();
    let mut seen = HashSet::new();
    let mut found: Vec<Library> = Vec::new();
    let mut waiting =
        vec![(path.to_path_buf(), shown(path.file_name().unwrap_or_default()), program.clone())];
    while let Some((owner, parent, elf)) = waiting.pop() {
        let origin = owner.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let given = |paths: &[String]| -> Vec<PathBuf> {
            let path = |it: &String| it.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
            paths.iter().map(|it| path(it).into()).collect()
        };
        let (mut rpath, runpath) = (Vec::new(), given(&elf.runpath));
        if runpath.is_empty() {
            rpath = [given(&elf.rpath), given(&program.rpath)].concat();
        }
        for name in elf.needed {
            if seen.len() == MAX_LIBRARIES || !seen.insert(name.clone()) {
                continue;
            }
            let places: Vec<PathBuf> = if name.contains('/') {
                vec![PathBuf::from(&name)]
            } else {
                let all = rpath.iter().chain(&extra).chain(&runpath).chain(&folders);
                all.map(|folder| folder.join(&name)).collect()
            };
            let there = places.into_iter().find_map(|place| {
                let library = elf::read_elf(&place, depth)?;
                (library.kind == program.kind).then_some((place, library))
            });
            if let Some((path, elf)) = there {
                waiting.push((path.clone(), name.clone(), elf.clone()));
                found.push(Library { name, path, parent: parent.clone(), elf });
            } else {
                report.note("libraries", format!("{} is not found", shown(&name)));
            }
        }
    }
    found
}

/// The folders of `/etc/ld.so.conf` and the usual ones. The loader's cache has the same in a format of its own. musl has one file of
/// folders, or these.
fn system_folders(root: &Path) -> Vec<PathBuf> {
    if cfg!(target_env = "musl") {
        let file = format!("etc/ld-musl-{}.path", std::env::consts::ARCH);
        let text = std::fs::read_to_string(root.join(file));
        let text = text.unwrap_or_else(|_| "/lib:/usr/local/lib:/usr/lib".to_string());
        let folders = text.split([':', '\n']).filter_map(|folder| folder.trim().strip_prefix('/'));
        return folders.map(|folder| root.join(folder)).collect();
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("etc/ld.so.conf.d"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    files.sort();
    files.insert(0, root.join("etc/ld.so.conf"));
    let mut folders = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix('/'));
        folders.extend(lines.map(|folder| root.join(folder)));
    }
    folders.extend(["lib64", "usr/lib64", "lib", "usr/lib"].map(|folder| root.join(folder)));
    folders
}

/// The libcrypto among these.
pub fn libcrypto(libraries: &[Library]) -> Option<&Elf> {
    let is_libcrypto =
        |elf: &&Elf| elf.soname.as_deref().is_some_and(|name| name.starts_with("libcrypto.so"));
    libraries.iter().map(|library| &library.elf).find(is_libcrypto)
}

/// Reports on a libssl. The version of some is only in their libcrypto.
pub fn libssl(path: &Path, parent: &str, libssl: &Elf, crypto: Option<&Elf>, report: &mut Report) {
    let soname = libssl.soname.as_deref().unwrap_or_default();
    let version = libssl.version.as_deref().or(crypto.and_then(|it| it.version.as_deref()));
    let version = version.unwrap_or("of unknown version");
    let path = shown(path);
    let by = if parent.is_empty() { String::new() } else { format!(", for {parent}") };
    if let Some(other) = libssl.other {
        report.no("libssl", format!("{path} is {other}{by}"), "use a build for OpenSSL");
    } else if soname.starts_with("libssl.so.0") || soname.starts_with("libssl.so.1.0") {
        report.no(
            "libssl",
            format!("{path} is {version}{by}, older than 1.1.1"),
            "use OpenSSL 1.1.1 or later",
        );
    } else if !cfg!(target_env = "musl")
        && !NODES.contains(&libssl.node.as_deref().unwrap_or_default())
    {
        let node = libssl.node.as_deref().unwrap_or("none");
        report.no(
            "libssl",
            format!(
                "{path} is {version}{by}, whose functions lack OpenSSL's version nodes ({node}): calls go past the library"
            ),
            "use a libssl as distributions build it, or relink the program with libsslsweep.a",
        );
    } else {
        let how = if libssl.symbolic {
            "binds its own calls itself"
        } else if libssl.own_plt {
            "its own calls go through the PLT"
        } else {
            "makes no visible calls of its own"
        };
        report.yes("libssl", format!("{path}, {version}{by}; {how}"));
    }
}
