//! The file that a name runs, and the rights that it has.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::report::Report;
use crate::text::shown;

/// The file that is run by this name.
pub fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file() && is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| {
        // SAFETY: the path is a string.
        unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
    })
}

fn has_capabilities(path: &Path) -> bool {
    CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| {
        let (path, name) = (path.as_ptr(), c"security.capability".as_ptr());
        // SAFETY: two strings, and no buffer: only the size is asked for.
        unsafe { libc::getxattr(path, name, std::ptr::null_mut(), 0) > 0 }
    })
}

/// Reports a program that may not be run at all.
pub fn to_run(path: &Path, report: &mut Report) {
    if !is_executable(path) {
        let text = format!("{} must not be run", shown(path));
        report.no("program", text, "chmod +x, if it is a program");
    }
}

/// Reports the rights that make the loader ignore LD_PRELOAD.
pub fn to_preload(path: &Path, report: &mut Report) {
    let Ok(about) = std::fs::metadata(path) else { return };
    // SAFETY: a plain query.
    let user = unsafe { libc::getuid() };
    // SAFETY: the same.
    let group = unsafe { libc::getgid() };
    let (mode, capable) = (about.mode(), has_capabilities(path));
    for (has, name, gains) in [
        (mode & 0o4000 != 0, "is set-user-ID", about.uid() != user),
        (mode & 0o2000 != 0, "is set-group-ID", about.gid() != group),
        (capable, "has file capabilities", user != 0),
    ] {
        let text = format!("it {name}: the system ignores LD_PRELOAD");
        match (has, gains) {
            (false, _) => {}
            (true, false) => report.note("rights", text + " when another user runs it"),
            (true, true) => report.no(
                "rights",
                text + " for it",
                "let the service manager give it these rights (User=, AmbientCapabilities=), or relink it with sslsweep",
            ),
        }
    }
}
