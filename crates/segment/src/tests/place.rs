//! Where segments are made and found, and what is refused there.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::thread;

use super::{LATER, NOW, found, name};
use crate::{Error, Segment};

const BYTES: u64 = 1 << 16;

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sslsweep-segment-{}-{test}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("segment")
    }

    fn open(&self) -> Result<Segment, Error> {
        Segment::host(&self.path(), BYTES)
    }

    /// Makes a segment, and has its file.
    fn made(&self) -> File {
        drop(self.open().unwrap());
        File::options().read(true).write(true).open(self.path()).unwrap()
    }

    fn refusal(&self) -> Error {
        self.open().expect_err("it is refused")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_made_once_and_found_again() {
    let folder = Folder::new("found");
    let first = folder.open().unwrap();
    let second = folder.open().unwrap();
    first.put(name(1), b"shared", LATER, NOW).unwrap();
    assert_eq!(found(&second, name(1), NOW).as_deref(), Some(&b"shared"[..]));
    drop((first, second));
    assert_eq!(found(&folder.open().unwrap(), name(1), NOW).as_deref(), Some(&b"shared"[..]));

    let about = fs::metadata(folder.path()).unwrap();
    assert_eq!((about.mode() & 0o7777, about.len()), (0o600, BYTES));
    assert!(about.blocks() * 512 >= BYTES, "its room is taken");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn of_many_makers_all_have_one_file() {
    let folder = Folder::new("makers");
    let segments: Vec<Segment> = thread::scope(|threads| {
        let makers: Vec<_> = (0..8).map(|_| threads.spawn(|| folder.open().unwrap())).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    segments[0].put(name(1), b"all", LATER, NOW).unwrap();
    assert!(segments.iter().all(|segment| segment.get(name(1), NOW).is_some()));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn a_size_is_whole_buckets() {
    for bytes in [0, 4096, 12_287, u64::MAX] {
        assert!(matches!(Segment::family(bytes), Err(Error::Size)), "{bytes}");
    }
    assert_eq!(Segment::family(12_288).unwrap().slots(), 8);
    assert_eq!(Segment::family(16_383).unwrap().slots(), 8);
    assert_eq!(Segment::family(Segment::DEFAULT_BYTES).unwrap().slots(), 131_056);
}

#[test]
fn a_file_of_others_is_refused() {
    let folder = Folder::new("others");
    let file = folder.made();
    for mode in [0o640, 0o606, 0o670, 0o661] {
        file.set_permissions(Permissions::from_mode(mode)).unwrap();
        assert!(matches!(folder.refusal(), Error::Permissions(found) if found == mode));
    }
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
    // Only root can give a file away.
    if chown(folder.path(), Some(12_345), None).is_ok() {
        assert!(matches!(folder.refusal(), Error::Owner(12_345)));
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = Folder::new("links");
    let target = folder.0.join("target");
    drop(Segment::host(&target, BYTES).unwrap());
    symlink(&target, folder.path()).unwrap();
    assert!(matches!(folder.refusal(), Error::File(_)), "a link is not followed");
    fs::remove_file(folder.path()).unwrap();
    symlink(folder.0.join("nothing"), folder.path()).unwrap();
    assert!(matches!(folder.refusal(), Error::File(_)));
    fs::remove_file(folder.path()).unwrap();
    fs::create_dir(folder.path()).unwrap();
    assert!(matches!(folder.refusal(), Error::File(_) | Error::NotRegular));
    fs::remove_dir(folder.path()).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.path()).status().unwrap().success());
    assert!(matches!(folder.refusal(), Error::NotRegular), "nor is a pipe waited for");
}

#[test]
fn foreign_and_damaged_files_are_refused() {
    let folder = Folder::new("damaged");
    let file = folder.made();
    file.set_len(BYTES - 1).unwrap();
    assert!(matches!(folder.refusal(), Error::FileSize { found: 65_535, wanted: BYTES }));
    file.set_len(BYTES).unwrap();
    let write = |at: u64, word: u64| file.write_all_at(&word.to_ne_bytes(), at).unwrap();
    write(24, BYTES * 2);
    assert!(matches!(folder.refusal(), Error::Geometry));
    write(16, 7);
    assert!(matches!(folder.refusal(), Error::Geometry));
    write(8, 1);
    assert!(matches!(folder.refusal(), Error::Layout(1)));
    write(0, 0);
    assert!(matches!(folder.refusal(), Error::NotSegment));
    file.set_len(0).unwrap();
    assert!(matches!(folder.refusal(), Error::FileSize { found: 0, .. }));
}

#[test]
fn no_room_and_no_folder() {
    let folder = Folder::new("room");
    let nowhere = folder.0.join("nothing/segment");
    assert!(matches!(Segment::host(&nowhere, BYTES), Err(Error::File(_))));
    let refused = Segment::host(&folder.path(), 1 << 60).expect_err("nobody has an exabyte");
    assert!(matches!(refused, Error::Room(_)), "{refused}");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "nothing is left");
}

#[test]
fn messages_name_the_subject_and_the_remedy() {
    let message = Error::FileSize { found: 1, wanted: 8192 }.to_string();
    assert!(message.starts_with("the file has 1 bytes instead of 8192; "), "{message}");
    assert!(Error::Permissions(0o640).to_string().contains("0640"));
}
