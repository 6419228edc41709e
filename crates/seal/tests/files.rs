//! S6: only a file that belongs to this user or root, and that nobody else can use, gives keys.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use proptest::prelude::*;
use sslsweep_seal::{KeyError, KeyFile, Keys, MOST_KEYS, new_line};

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sslsweep-seal-{name}.{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with this text, for its owner alone.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(number: usize) -> String {
    format!("{number:08x} {number:064x}\n")
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>) -> String {
    Keys::parse(text.as_ref()).unwrap_err().to_string()
}

#[test]
fn files() {
    let folder = Folder::new("files");
    let good = folder.file("good", line(7));
    let keys = Keys::read(&good).unwrap();
    assert_eq!(keys.ids().map(|id| id.to_string()).collect::<Vec<_>>(), ["00000007"]);
    assert_eq!(format!("{keys:?}"), "[00000007]", "and nothing of the key");

    for mode in [0o601, 0o610, 0o620, 0o640, 0o604, 0o644, 0o660, 0o777] {
        fs::set_permissions(&good, Permissions::from_mode(mode)).unwrap();
        assert!(
            matches!(Keys::read(&good), Err(KeyError::Permissions(it)) if it == mode),
            "{mode:o}"
        );
    }
    fs::set_permissions(&good, Permissions::from_mode(0o400)).unwrap();
    assert!(Keys::read(&good).is_ok());

    symlink(&good, folder.path("link")).unwrap();
    assert!(matches!(Keys::read(&folder.path("link")), Err(KeyError::Link)));
    symlink("nothing", folder.path("dangling")).unwrap();
    assert!(matches!(Keys::read(&folder.path("dangling")), Err(KeyError::Link)));
    // A link further up is the administrator's.
    symlink(&folder.0, folder.path("up")).unwrap();
    assert!(Keys::read(&folder.path("up").join("good")).is_ok());

    let missing = Keys::read(&folder.path("missing"));
    assert!(
        matches!(missing, Err(KeyError::File(it)) if it.kind() == std::io::ErrorKind::NotFound)
    );
    let directory = folder.path("directory");
    fs::create_dir(&directory).unwrap();
    assert!(matches!(Keys::read(&directory), Err(KeyError::NotRegular)));
    let pipe = CString::new(folder.path("pipe").as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a string of C that lives until the call is over.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    assert!(
        matches!(Keys::read(&folder.path("pipe")), Err(KeyError::NotRegular)),
        "without waiting"
    );
    assert!(matches!(Keys::read("/dev/null".as_ref()), Err(KeyError::NotRegular)));
}

#[test]
fn owners() {
    let folder = Folder::new("owners");
    let path = folder.file("key", line(7));
    if std::os::unix::fs::chown(&path, Some(65534), None).is_ok() {
        assert!(
            matches!(Keys::read(&path), Err(KeyError::Owner(65534))),
            "root and somebody's file"
        );
    } else {
        // Only root can give a file away. That of root's which everybody can read is refused for that alone.
        let Err(KeyError::Permissions(_)) = Keys::read("/etc/passwd".as_ref()) else {
            panic!("root's file is refused for its owner");
        };
    }
}

#[test]
fn sizes() {
    let folder = Folder::new("sizes");
    let comment = |length: usize| line(7) + "#" + &"x".repeat(length - line(7).len() - 1);
    assert!(Keys::read(&folder.file("largest", comment(16384))).is_ok());
    assert!(matches!(Keys::read(&folder.file("larger", comment(16385))), Err(KeyError::TooLarge)));
    let huge = folder.file("huge", "");
    fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(Keys::read(&huge), Err(KeyError::TooLarge)));
    assert!(matches!(Keys::read(&folder.file("empty", "")), Err(KeyError::Empty)));
}

#[test]
fn a_file_that_is_replaced_while_it_is_open_is_read_whole() {
    let folder = Folder::new("replaced");
    let path = folder.file("key", line(7));
    let open = KeyFile::open(&path).unwrap();
    fs::rename(folder.file("next", line(8)), &path).unwrap();
    assert_eq!(&open.text().unwrap()[..], line(7).as_bytes());
    assert_eq!(Keys::read(&path).unwrap().ids().next().unwrap().to_string(), "00000008");
}

#[test]
fn texts() {
    let text =
        format!("# a comment\n\n \t \n  {}\t# one more\r\n#\n{}", line(1).trim(), line(2).trim());
    let keys = Keys::parse(text.as_bytes()).unwrap();
    assert_eq!(keys.ids().map(|id| id.to_string()).collect::<Vec<_>>(), ["00000001", "00000002"]);
    let capitals = Keys::parse(
        b"ABCDEF01  \t 5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a5A5a",
    )
    .unwrap();
    assert_eq!(capitals.ids().next().unwrap().to_string(), "abcdef01");

    let most: String = (1..=MOST_KEYS).map(line).collect();
    assert_eq!(Keys::parse(most.as_bytes()).unwrap().ids().count(), MOST_KEYS);
    assert_eq!(refused(most + &line(17)), "line 17 has a key too many; 16 are allowed");
    assert_eq!(
        refused(line(1) + "\n" + &line(1)),
        "line 3 has the id 00000001, which an earlier line has"
    );
    for text in ["", "\n", "# only this\n"] {
        assert_eq!(refused(text), "the file has no key");
    }
}

#[test]
fn lines_that_are_no_keys() {
    let good = line(0x5a5a);
    let good = good.trim();
    let (id, hex) = good.split_once(' ').unwrap();
    for bad in [
        id,
        hex,
        &good[1..],
        &good[..good.len() - 1],
        &good.replace(' ', ""),
        &good.replace(' ', "\u{a0}"),
        &format!("{good}0"),
        &format!("{good} 0"),
        &format!("{id}:{hex}"),
        &format!("0x{good}"),
        &format!("{id} +{}", &hex[1..]),
        &format!("{id} {}g", &hex[1..]),
        &format!("{id} {hex} {hex}"),
        &format!("{id}\0{hex}"),
        "key = value",
    ] {
        let message = refused(format!("# first\n{bad}\n"));
        assert!(message.starts_with("line 2 is not a key; "), "{bad}: {message}");
        assert!(!message.contains("5a5a"), "no key material: {message}");
    }
    assert!(Keys::parse(format!("{good}\n").as_bytes()).is_ok());
    assert!(refused([good.as_bytes(), b"\n\xff\xfe\n"].concat()).starts_with("line 2 "));
}

#[test]
fn new_lines() {
    let lines: Vec<_> = (0..MOST_KEYS).map(|_| new_line().unwrap().to_string()).collect();
    let keys = Keys::parse(lines.join("\n").as_bytes()).unwrap();
    for (id, line) in keys.ids().zip(&lines) {
        assert_eq!(id.to_string(), line[..8]);
    }
    let bytes: std::collections::BTreeSet<&str> = lines.iter().map(|line| &line[9..]).collect();
    assert_eq!(bytes.len(), MOST_KEYS, "each is another");
}

proptest! {
    #[test]
    fn any_text_is_keys_or_an_error(text in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = Keys::parse(&text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    /// A text that is nearly right: each key is read as it was written, or its line is named.
    #[test]
    fn nearly_right_texts(numbers in prop::collection::vec(0_usize..40, 1..20), place: prop::sample::Index, byte: u8) {
        let whole: String = numbers.iter().map(|&number| line(number)).collect();
        let mut text = whole.into_bytes();
        let place = place.index(text.len());
        text[place] = byte;
        match Keys::parse(&text) {
            Ok(keys) => prop_assert!(keys.ids().count() <= numbers.len()),
            Err(KeyError::Line(line) | KeyError::Duplicate(line, _) | KeyError::TooMany(line)) => {
                prop_assert!(line >= 1 && line <= numbers.len() + 1);
            }
            Err(error) => prop_assert!(matches!(error, KeyError::Empty), "{error}"),
        }
    }
}
