//! Checks of the share library, a key file, a segment and a program.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, access, statvfs};
use sslsweep_seal::Keys;
use sslsweep_segment::Segment;
use sslsweep_share_table::EXCLUDED;
use zeroize::Zeroizing;

use crate::text::{plain, shown};

/// A problem, and its remedy.
pub type Problem = (String, &'static str);

/// Returns whether sessions of a program are never shared, by the name of its file.
pub fn never(program: &Path) -> bool {
    program.file_name().is_some_and(|name| EXCLUDED.iter().any(|it| OsStr::new(it) == name))
}

/// The path of the share library: that of the core, with another name.
pub fn library(core: &Path) -> PathBuf {
    let name = shown(core.file_name().unwrap_or_default());
    core.with_file_name(name.replacen("libsslsweep.so", "libsslsweep-share.so", 1))
}

/// Checks a file that only its owner may use, as the library does; `root` is the folder that is / for the process, and `user`
/// the process's.
fn private(file: &Path, about: &Metadata, user: u32) -> Result<(), Problem> {
    let (name, mode, owner) = (shown(file), about.mode() & 0o7777, about.uid());
    if !about.is_file() {
        return Err((format!("{name} is not a regular file"), "name a file, not a link to it"));
    }
    if owner != 0 && owner != user {
        let text = format!("{name} belongs to user {owner}, and the program runs as user {user}");
        return Err((text, "give the file to the user of the program, or to root"));
    }
    if mode & 0o077 != 0 {
        let text = format!("{name} has mode {mode:04o}, so others than its owner can use it");
        return Err((text, "chmod 600"));
    }
    Ok(())
}

/// Checks a key file, and the form of its lines if this user may read it.
pub fn key(file: &Path, root: &Path, user: u32) -> Result<(), Problem> {
    const MAKE: &str = "make one: sslsweep share-key new FILE";
    let name = shown(file);
    if !file.is_absolute() {
        return Err((
            format!("the key file {name} is not named by an absolute path"),
            "name it from / on",
        ));
    }
    let about = match fs::symlink_metadata(below(root, file)) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err((format!("the key file {name} does not exist"), MAKE));
        }
        Err(error) => return Err((format!("the key file {name}: {}", plain(&error)), MAKE)),
    };
    private(file, &about, user)?;
    if about.len() == 0 {
        return Err((format!("the key file {name} is empty"), MAKE));
    }
    let Ok(text) = fs::read(below(root, file)).map(Zeroizing::new) else { return Ok(()) };
    match Keys::parse(&text) {
        Ok(_) => Ok(()),
        Err(error) => Err((format!("the key file {name}: {error}"), MAKE)),
    }
}

/// Checks the place of a segment; returns whether the segment is there.
pub fn segment(file: &Path, root: &Path, bytes: u64, user: u32) -> Result<bool, Problem> {
    let (name, inside) = (shown(file), below(root, file));
    let about = match fs::symlink_metadata(&inside) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = inside.parent().unwrap_or(root);
            return room(&name, folder, bytes).map(|()| false);
        }
        Err(error) => {
            let text = format!("the segment {name}: {}", plain(&error));
            return Err((text, "name a path that the program can reach"));
        }
    };
    // The agent of a fleet makes it for a group. Whether the process is in that group is the library's to check: a command of
    // the administrator's is in others.
    let is_for_group = about.is_file() && about.mode() & 0o7777 == 0o660;
    if !is_for_group {
        private(file, &about, user)?;
    }
    if about.len() == bytes {
        return Ok(true);
    }
    let text = format!("the segment {name} has {} bytes instead of {bytes}", about.len());
    Err((text, "set the same size everywhere, or remove the file while no process uses it"))
}

/// How full a segment is that is there; nothing if this user may not open it.
pub fn fill(file: &Path, root: &Path, bytes: u64) -> String {
    let Ok(segment) = Segment::host(&below(root, file), bytes) else { return String::new() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let (census, counts) = (segment.census(now), segment.counts());
    format!(
        "; of {} slots {} hold sessions, {} are kept for removed ones, {} are lost or being written; {} sessions were evicted",
        segment.slots(),
        census.live,
        census.dead,
        census.busy,
        counts.evictions
    )
}

/// Checks the folder in which a segment is to be made.
fn room(name: &str, folder: &Path, bytes: u64) -> Result<(), Problem> {
    let why = |error: rustix::io::Errno| {
        let text = format!("the segment {name} cannot be made: {}", plain(&error.into()));
        (text, "make its folder, and give that to the user of the program")
    };
    let space = statvfs(folder).map_err(why)?;
    access(folder, Access::WRITE_OK).map_err(why)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let text = format!(
        "there is no room for the segment {name}: {free} bytes are free, and it takes {bytes}"
    );
    Err((text, "free some, or set a smaller size (a container: give it a larger --shm-size)"))
}

/// A path of a process, below the root of the process.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
