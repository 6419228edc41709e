//! Making and replacing a key file.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use sslsweep_seal::KeyFile;

use super::why;
use crate::system;
use crate::text::plain;

/// The time that another command may hold the file.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Makes the file, unless there is something of its name.
pub fn make(path: &Path, text: &[u8]) -> Result<(), String> {
    let temporary = Temporary::write(path, text, 0o600).map_err(|error| cannot("made", &error))?;
    // Unlike a rename, a link refuses to take a place that is taken. Nobody finds half of a file.
    fs::hard_link(&temporary.0, path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            "it exists already; share-key stage adds a key to it".to_string()
        }
        _ => cannot("made", &error),
    })?;
    sync_folder(path).map_err(|error| cannot("saved", &error))
}

/// Opens the file that is to be replaced, and keeps other commands from it until it is closed.
///
/// The lock is on the file itself, because only its owner can take it: anybody could hold one on the folder. The file
/// that was locked may have been replaced meanwhile, so that the lock is that of a file which is gone.
pub fn lock(path: &Path) -> Result<KeyFile, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let key_file = KeyFile::open(path).map_err(|error| why(&error))?;
        let about = key_file.file().metadata().map_err(|error| cannot("read", &error))?;
        // A replacement would belong to this user.
        if about.uid() != system::user() {
            return Err(format!(
                "the file belongs to user {}; run the command as that user",
                about.uid()
            ));
        }
        match flock(key_file.file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_still(&about, path) => return Ok(key_file),
            Ok(()) | Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(cannot("locked", &error.into())),
        }
        if Instant::now() >= until {
            return Err("another command holds the file; try again when it has ended".to_string());
        }
        sleep(PAUSE);
    }
}

fn is_still(about: &fs::Metadata, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (about.dev(), about.ino()))
}

/// Puts a new text in the place of the locked file, with its mode.
pub fn replace(path: &Path, locked: &File, text: &[u8]) -> Result<(), String> {
    let save = || {
        let mode = locked.metadata()?.mode() & 0o700;
        let temporary = Temporary::write(path, text, mode)?;
        fs::rename(&temporary.0, path)?;
        sync_folder(path)
    };
    save().map_err(|error| cannot("replaced", &error))
}

fn cannot(be_done: &str, error: &io::Error) -> String {
    format!("the file cannot be {be_done}: {}", plain(error))
}

/// After this the file is found under its name even if the power fails.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A file beside another one, complete and on disk, that goes away unless it is renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &Path, text: &[u8], mode: u32) -> io::Result<Self> {
        // A name that nobody can foresee.
        let random = RandomState::new().hash_one(std::process::id());
        let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
        name.push(format!(".{random:016x}.new"));
        let path = path.with_file_name(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let temporary = Self(path);
        file.write_all(text)?;
        // Independent of the umask.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is none.
        let _: io::Result<()> = fs::remove_file(&self.0);
    }
}
