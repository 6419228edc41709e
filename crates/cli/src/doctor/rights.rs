//! Finds the file that a name runs, and checks its rights.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, getxattr};
use rustix::process::{getgid, getuid};

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
    access(path, Access::EXEC_OK).is_ok()
}

/// Reports a program that may not be run at all.
pub fn to_run(path: &Path, report: &mut Report) {
    if !is_executable(path) {
        let text = format!("{} is not executable", shown(path));
        report.no("program", text, "chmod +x, if it is a program");
    }
}

/// Reports the rights that make the loader ignore LD_PRELOAD.
pub fn to_preload(path: &Path, report: &mut Report) {
    let Ok(about) = std::fs::metadata(path) else { return };
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    // An empty buffer asks for the size only.
    let capable = getxattr(path, "security.capability", &mut []).is_ok_and(|size| size > 0);
    let mode = about.mode();
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
