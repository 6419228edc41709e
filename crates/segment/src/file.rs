//! The file of a segment that unrelated processes find by its path.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::header::Header;
use crate::mapping::{self, Mapping};

/// The times that a file is looked for and made, where others make and remove it meanwhile.
const ATTEMPTS: usize = 8;

/// Maps the segment at this path, and makes it if there is none.
pub(crate) fn open(path: &Path, bytes: usize) -> Result<Mapping, Error> {
    for _ in 0..ATTEMPTS {
        match open_existing(path, bytes) {
            Err(Error::File(error)) if error.kind() == ErrorKind::NotFound => {}
            result => return result,
        }
        match make(path, bytes) {
            // Another process was faster.
            Err(Error::File(error)) if error.kind() == ErrorKind::AlreadyExists => {}
            result => return result,
        }
    }
    Err(Error::File(ErrorKind::AlreadyExists.into()))
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

fn open_existing(path: &Path, bytes: usize) -> Result<Mapping, Error> {
    let file = options().open(path).map_err(Error::File)?;
    let about = file.metadata().map_err(Error::File)?;
    if !about.is_file() {
        return Err(Error::NotRegular);
    }
    if about.uid() != 0 && about.uid() != mapping::user() {
        return Err(Error::Owner(about.uid()));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Permissions(mode));
    }
    if about.len() != bytes as u64 {
        return Err(Error::FileSize { found: about.len(), wanted: bytes as u64 });
    }
    let mapping = Mapping::of_file(&file, bytes).map_err(Error::Map)?;
    Header::split(mapping.words()).0.check(bytes)?;
    Ok(mapping)
}

/// Makes a segment under a temporary name and links it into place when it is complete, so that nobody finds half of one.
fn make(path: &Path, bytes: usize) -> Result<Mapping, Error> {
    let temporary = Temporary::beside(path);
    let file = options().create_new(true).mode(0o600).open(&temporary.0).map_err(Error::File)?;
    let mapping = fill(&file, bytes)?;
    fs::hard_link(&temporary.0, path).map_err(Error::File)?;
    Ok(mapping)
}

fn fill(file: &File, bytes: usize) -> Result<Mapping, Error> {
    // Independent of the umask.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(Error::File)?;
    mapping::allocate(file, bytes).map_err(Error::Room)?;
    let mapping = Mapping::of_file(file, bytes).map_err(Error::Map)?;
    Header::split(mapping.words()).0.write(bytes);
    Ok(mapping)
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
