//! The rules, each by itself. The models (`checks/models/tests/segment.rs`) have the rules of two processes at once.

mod fleet;
mod hostile;
mod oracle;
mod place;
mod rules;

use std::fs::{self, File};
use std::path::PathBuf;

use crate::{Error, Name, Segment};

const NOW: u64 = 1_000;
const LATER: u64 = 1_100;

/// Of a segment with a path.
const BYTES: u64 = 1 << 16;

/// A folder that goes away, with the path of a segment in it.
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

    /// The same, in the place of one that is there.
    fn made_anew(&self) -> File {
        fs::remove_file(self.path()).unwrap();
        self.made()
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

/// A segment with one bucket, so with eight slots.
fn one_bucket() -> Segment {
    Segment::family(12_288).expect("there is memory")
}

/// A name of this number.
fn name(number: u64) -> Name {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Name::from_bytes(bytes)
}

/// The record's bytes, if one is found.
fn found(segment: &Segment, name: Name, now: u64) -> Option<Vec<u8>> {
    segment.get(name, now).map(|record| record.bytes().to_vec())
}
