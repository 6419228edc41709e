//! Where segments are made and found, and what is refused there.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::thread;

use super::{BYTES, Folder, LATER, NOW, found, name};
use crate::{Agent, Error, Segment};

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

/// The agent makes the file for a group, and whoever is in that group opens it.
#[test]
fn a_file_is_for_a_group_of_the_process() {
    let folder = Folder::new("group");
    let group = fs::metadata(&folder.0).unwrap().gid();
    let agent = Agent::attach(&folder.path(), BYTES, Some(group)).unwrap();
    let about = fs::metadata(folder.path()).unwrap();
    assert_eq!((about.mode() & 0o7777, about.gid()), (0o660, group));
    assert_eq!(folder.open().unwrap().home(), agent.segment().home());
    drop(agent);
    let again = |group| Agent::attach(&folder.path(), BYTES, group);
    again(Some(group)).unwrap();
    again(None).unwrap();
    // Only root can give a file to a group that it is not in.
    if chown(folder.path(), Some(12_345), Some(12_346)).is_ok() {
        assert!(folder.open().is_ok(), "root needs no group");
        assert!(matches!(refusal_of_user(&folder, 12_347), Error::Group(12_346)));
        assert!(matches!(again(Some(group)), Err(Error::Group(12_346))));
        // The owner does not matter where the group does.
        chown(folder.path(), Some(12_345), Some(group)).unwrap();
        folder.open().unwrap();
        // A new file is for the group that was asked for, whichever it began with.
        fs::remove_file(folder.path()).unwrap();
        drop(again(Some(12_346)).unwrap());
        let about = fs::metadata(folder.path()).unwrap();
        assert_eq!((about.mode() & 0o7777, about.gid()), (0o660, 12_346));
    }
    // A file of the owner's alone is not what an agent for a group would make.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(again(Some(group)), Err(Error::Owner(_) | Error::Group(_))));
}

/// What a thread of another user is told.
fn refusal_of_user(folder: &Folder, user: u32) -> Error {
    let result = thread::scope(|threads| {
        let open = threads.spawn(|| {
            // It may still open every file, so that our own check alone refuses it.
            const KEEP_RIGHTS: libc::c_ulong = 1 << 2;
            // SAFETY: it changes this thread alone, which ends.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, KEEP_RIGHTS) }, 0);
            // SAFETY: as above. (libc's own function would change all threads.)
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, user, u32::MAX) }, 0);
            folder.open()
        });
        open.join().unwrap()
    });
    result.expect_err("it is refused")
}

/// A member of the group could put a file of its own there first.
#[test]
fn a_file_for_a_group_is_in_no_folder_that_others_write_to() {
    let folder = Folder::new("writable");
    let group = fs::metadata(&folder.0).unwrap().gid();
    let attach = || Agent::attach(&folder.path(), BYTES, Some(group));
    let with_mode = |mode| fs::set_permissions(&folder.0, Permissions::from_mode(mode)).unwrap();
    with_mode(0o1777);
    assert!(matches!(attach(), Err(Error::Folder(0o1777))));
    assert!(!folder.path().exists());
    with_mode(0o775);
    drop(attach().unwrap());
    folder.open().unwrap();
    with_mode(0o1777);
    assert!(matches!(attach(), Err(Error::Folder(0o1777))));
    assert!(matches!(folder.refusal(), Error::Folder(0o1777)));
    // A file of the owner's alone may lie anywhere.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o600)).unwrap();
    folder.open().unwrap();
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
    let path = CString::new(folder.path().as_os_str().as_bytes()).unwrap();
    // A command would hold the locks of other tests' agents until it has begun.
    // SAFETY: the path is a string of C that lives until the call is over.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
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
    let file = folder.made_anew();
    file.write_all_at(&[0; 8], 32).unwrap();
    assert!(matches!(folder.refusal(), Error::NotSegment), "no random number");
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
