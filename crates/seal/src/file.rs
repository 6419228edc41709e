//! A key file, with the checks that it must pass before it is read.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::KeyError;
use crate::key::Keys;
use crate::system;

/// The largest key file: sixteen keys have 1,200 bytes, and the rest is for comments.
pub(crate) const MOST_BYTES: usize = 16 << 10;

/// An open key file that only its owner, who is this process's user or root, can use.
#[derive(Debug)]
pub struct KeyFile {
    file: File,
}

impl KeyFile {
    /// Opens the file at this path. A symbolic link in its last place is refused.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let file = OpenOptions::new()
            .read(true)
            // A pipe in its place must not hold the process up. The standard library adds O_CLOEXEC.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => KeyError::Link,
                _ => KeyError::File(error),
            })?;
        let about = file.metadata().map_err(KeyError::File)?;
        if !about.is_file() {
            return Err(KeyError::NotRegular);
        }
        if about.uid() != 0 && about.uid() != system::user() {
            return Err(KeyError::Owner(about.uid()));
        }
        let mode = about.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Permissions(mode));
        }
        Ok(Self { file })
    }

    /// The open file, for a lock or a look at its owner.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads the file from where it stands, which is its beginning the first time.
    pub fn text(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        contents(&self.file, &self.file)
    }
}

/// Reads a whole file, and sees to it that it was the same before and after.
///
/// An editor that writes into the file could otherwise leave us with half of each. (A file that takes the place of
/// this one does no harm. It changes the time of the inode, but not that of the contents.)
fn contents(file: &File, mut reader: impl Read) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let state = || file.metadata().map(|it| (it.size(), it.mtime(), it.mtime_nsec()));
    let before = state().map_err(KeyError::File)?;
    // Never enlarged, so that no copy is left behind.
    let mut text = Zeroizing::new(vec![0; MOST_BYTES + 1]);
    let mut length = 0;
    while length < text.len() {
        match reader.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(KeyError::File(error)),
        }
    }
    if length > MOST_BYTES {
        return Err(KeyError::TooLarge);
    }
    if state().map_err(KeyError::File)? != before || before.0 != length as u64 {
        return Err(KeyError::Changed);
    }
    text.truncate(length);
    Ok(text)
}

impl Keys {
    /// Reads the keys of a file, which must be a regular one that only its owner, this user or root, can use.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::parse(&KeyFile::open(path)?.text()?)
    }

    /// One random key in memory, for processes that inherit it.
    pub fn random() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 36]);
        system::random(&mut *bytes)?;
        Ok(Self::one(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    /// Reads from a copy, and lets `meanwhile` change the file before its end is seen.
    struct Slow<'file, F>(Cursor<Vec<u8>>, &'file mut F);

    impl<F: FnMut()> Read for Slow<'_, F> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let part = buffer.len().min(10);
            let length = self.0.read(&mut buffer[..part])?;
            if length == 0 {
                (self.1)();
            }
            Ok(length)
        }
    }

    fn read_while(text: &[u8], mut meanwhile: impl FnMut(&mut File)) -> Result<Vec<u8>, KeyError> {
        let path = std::env::temp_dir().join(format!("sslsweep-seal-slow.{}", std::process::id()));
        let mut file = File::create_new(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(text).unwrap();
        let mut other = file.try_clone().unwrap();
        let mut change = || meanwhile(&mut other);
        contents(&file, Slow(Cursor::new(text.to_vec()), &mut change)).map(|text| text.to_vec())
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_refused() {
        let text = b"a text that is longer than one part";
        assert_eq!(read_while(text, |_| {}).unwrap(), text);
        let longer = read_while(text, |file| file.write_all(b"more").unwrap());
        assert!(matches!(longer, Err(KeyError::Changed)));
        let shorter = read_while(text, |file| file.set_len(3).unwrap());
        assert!(matches!(shorter, Err(KeyError::Changed)));
        let other = read_while(text, |file| file.set_modified(std::time::UNIX_EPOCH).unwrap());
        assert!(matches!(other, Err(KeyError::Changed)));
    }
}
