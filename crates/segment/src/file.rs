//! The file of a segment that unrelated processes find by its path.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::header::Header;
use crate::mapping::{self, Mapping};

/// The times that a file is looked for and made, where others make and remove it meanwhile.
const ATTEMPTS: usize = 8;

/// A segment that is mapped, and its file.
pub(crate) struct Opened {
    pub(crate) mapping: Mapping,
    /// The segment's random number.
    pub(crate) home: u64,
    pub(crate) file: File,
}

/// Maps the segment at this path, and makes it if there is none: for a group, if there is to be one.
pub(crate) fn open(path: &Path, bytes: usize, group: Option<u32>) -> Result<Opened, Error> {
    for _ in 0..ATTEMPTS {
        match open_existing(path, bytes, group) {
            Err(Error::File(error)) if error.kind() == ErrorKind::NotFound => {}
            result => return result,
        }
        match make(path, bytes, group) {
            // Another process was faster.
            Err(Error::File(error)) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result,
        }
    }
    Err(Error::File(ErrorKind::AlreadyExists.into()))
}

/// Returns whether a file is still the one at this path.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |about: Metadata| (about.dev(), about.ino());
    let there = fs::symlink_metadata(path).map(identity);
    there.is_ok_and(|there| file.metadata().map(identity).is_ok_and(|own| own == there))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A pipe in its place must not hold the process up. The standard library adds O_CLOEXEC.
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

fn open_existing(path: &Path, bytes: usize, group: Option<u32>) -> Result<Opened, Error> {
    let file = options().open(path).map_err(Error::File)?;
    let about = file.metadata().map_err(Error::File)?;
    if !about.is_file() {
        return Err(Error::NotRegular);
    }
    check_access(path, &about, group)?;
    if about.len() != bytes as u64 {
        return Err(Error::FileSize { found: about.len(), wanted: bytes as u64 });
    }
    let mapping = Mapping::of_file(&file, bytes).map_err(Error::Map)?;
    let home = Header::split(mapping.words()).0.check(bytes)?;
    Ok(Opened { mapping, home, file })
}

/// The file is the process's own or root's and nobody else's; or it is for one of the process's groups, and for this one if
/// there is to be one. (Root needs no group.)
fn check_access(path: &Path, about: &Metadata, group: Option<u32>) -> Result<(), Error> {
    let is_own = about.uid() == 0 || about.uid() == mapping::user();
    let is_for_group = match about.mode() & 0o077 {
        0 if !is_own => return Err(Error::Owner(about.uid())),
        0 => false,
        0o060 => true,
        _ => return Err(Error::Permissions(about.mode() & 0o7777)),
    };
    let is_good = match group {
        Some(group) => is_for_group && about.gid() == group,
        None => !is_for_group || mapping::user() == 0 || mapping::is_in_group(about.gid()),
    };
    if !is_good {
        return Err(Error::Group(about.gid()));
    }
    if is_for_group { check_folder(path) } else { Ok(()) }
}

/// Nobody outside the folder's owner and group makes a file there. Otherwise any member of the group could put a file of its
/// own in the place of the agent's, whose owner is not checked.
fn check_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let about = fs::metadata(folder.unwrap_or(Path::new("."))).map_err(Error::File)?;
    match about.mode() & 0o002 {
        0 => Ok(()),
        _ => Err(Error::Folder(about.mode() & 0o7777)),
    }
}

/// Makes a segment under a temporary name and links it into place when it is complete, so that nobody finds half of one.
fn make(path: &Path, bytes: usize, group: Option<u32>) -> Result<Opened, Error> {
    if group.is_some() {
        check_folder(path)?;
    }
    let temporary = Temporary::beside(path);
    let file = options().create_new(true).mode(0o600).open(&temporary.0).map_err(Error::File)?;
    let (mapping, home) = fill(&file, bytes, group)?;
    fs::hard_link(&temporary.0, path).map_err(Error::File)?;
    Ok(Opened { mapping, home, file })
}

fn fill(file: &File, bytes: usize, group: Option<u32>) -> Result<(Mapping, u64), Error> {
    // A new file has the group of its process, or of a folder that hands its own down. Where that is the right one, nothing is
    // changed: a service's filter of system calls may kill whoever changes it.
    let own = file.metadata().map_err(Error::File)?.gid();
    if let Some(group) = group.filter(|group| *group != own) {
        fchown(file, None, Some(group)).map_err(|error| {
            let what = format!("it cannot be given to group {group}: {error}");
            Error::File(io::Error::new(error.kind(), what))
        })?;
    }
    // Independent of the umask.
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    file.set_permissions(Permissions::from_mode(mode)).map_err(Error::File)?;
    mapping::allocate(file, bytes).map_err(Error::Room)?;
    let mapping = Mapping::of_file(file, bytes).map_err(Error::Map)?;
    let home = mapping::random().map_err(Error::Map)?;
    Header::split(mapping.words()).0.write(bytes, home);
    Ok((mapping, home))
}

/// A name that goes away. (The process must be killed for it to stay.)
struct Temporary(PathBuf);

impl Temporary {
    /// A name that nobody can foresee.
    fn beside(path: &Path) -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{random:016x}.new"));
        Self(path.with_file_name(name))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _: io::Result<()> = fs::remove_file(&self.0);
    }
}
