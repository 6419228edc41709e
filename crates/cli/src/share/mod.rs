//! Sharing as the operator sets it: the values of `SSLSWEEP_SHARE` and `SSLSWEEP_SHARE_KEY`, and what can be checked of them
//! before a program starts, or beside one that runs.

mod check;
mod setting;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use check::{Problem, library, never};
pub use setting::{Setting, setting};

use crate::text::{printable, shown};

/// The option that says where sessions are shared.
pub const SHARE: &str = "SSLSWEEP_SHARE";
/// The option that names the file with the keys.
pub const KEY: &str = "SSLSWEEP_SHARE_KEY";

/// The option that lets handshakes wait for the fleet, in milliseconds.
pub const WAIT: &str = "SSLSWEEP_SHARE_WAIT";
/// The longest wait that it can ask for, as the library has it.
pub const LONGEST_WAIT: u8 = 20;

/// The reason why some programs never share, and the remedy.
pub const NEVER: (&str, &str) = (
    "an FTP server takes a resumed session for evidence of who the client is, so a shared one would let a stranger in",
    "run it without SSLSWEEP_SHARE",
);

/// The program whose sharing is examined.
pub struct Program<'a> {
    /// The folder that is / for it.
    pub root: &'a Path,
    /// Its user.
    pub user: u32,
    /// The core library, as the program names it; `None` if that is inside the program.
    pub core: Option<&'a Path>,
    /// The files that it has mapped, if it runs.
    pub mapped: Option<&'a [&'a [u8]]>,
}

/// Examines what a program needs for sharing, in the order in which the library needs it: the values of [`SHARE`], [`KEY`] and
/// [`WAIT`].
pub fn examine(
    value: &[u8],
    key: Option<&[u8]>,
    wait: Option<&[u8]>,
    program: &Program<'_>,
) -> Vec<Result<String, Problem>> {
    let setting = match setting(value) {
        Ok(setting) => setting,
        Err(why) => {
            let text = format!("{SHARE}={}: {why}", printable(&value[..value.len().min(64)]));
            return vec![Err((text, "set family, or host:/PATH"))];
        }
    };
    let mut found = vec![Ok(format!("{SHARE}: {setting}")), program.share_library()];
    if let Setting::Host(path, bytes) = setting {
        found.push(match key.filter(|key| !key.is_empty()) {
            None => Err((
                "host needs a key file, and none is named".to_string(),
                "set SSLSWEEP_SHARE_KEY=FILE (sslsweep run --share-key=FILE)",
            )),
            Some(key) => {
                let key = PathBuf::from(OsStr::from_bytes(key));
                let good = || format!("the key file {} belongs to its user alone", shown(&key));
                check::key(&key, program.root, program.user).map(|()| good())
            }
        });
        found.push(program.segment(&path, bytes));
        found.extend(wait.map(waits));
    }
    found
}

/// What the value of [`WAIT`] means.
fn waits(value: &[u8]) -> Result<String, Problem> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let millis: Option<u64> = text.parse().ok().filter(|_| is_number);
    match millis.filter(|&millis| millis <= u64::from(LONGEST_WAIT)) {
        Some(0) => Ok("no handshake waits for sessions of other machines".to_string()),
        Some(millis) => Ok(format!(
            "a handshake waits at most {millis} ms for a session of another machine, by a futex if that takes long"
        )),
        None => {
            let value = printable(&value[..value.len().min(64)]);
            let text =
                format!("{WAIT}={value} is no number from 0 to {LONGEST_WAIT}, so nobody waits");
            Err((text, "set a number of milliseconds"))
        }
    }
}

impl Program<'_> {
    fn has_mapped(&self, mut is: impl FnMut(&[u8]) -> bool) -> Option<bool> {
        self.mapped.map(|mapped| mapped.iter().any(|path| is(path)))
    }

    fn share_library(&self) -> Result<String, Problem> {
        const INSTALL: &str = "install the share library (the package sslsweep-share)";
        let is_ours = |path: &[u8]| {
            let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            name.starts_with(b"libsslsweep-share.so")
        };
        let path = self.core.map(library);
        let there = path
            .as_ref()
            .is_none_or(|path| std::fs::File::open(check::below(self.root, path)).is_ok());
        let name = path.map_or("the share library".to_string(), shown);
        match (self.has_mapped(is_ours), there) {
            (Some(true), _) => Ok("the share library is loaded".to_string()),
            (_, false) => Err((format!("{name} is missing or not readable"), INSTALL)),
            (None, true) => Ok(format!("{name} is there")),
            (Some(false), true) => Err((
                format!("{name} is not loaded"),
                "see what the program said on standard error when it began, and start it again",
            )),
        }
    }

    fn segment(&self, path: &Path, bytes: u64) -> Result<String, Problem> {
        const AGAIN: &str = "start the program again";
        let name = shown(path);
        let there = check::segment(path, self.root, bytes, self.user)?;
        let is_it = |file: &[u8]| file == path.as_os_str().as_bytes();
        match (self.has_mapped(is_it), there) {
            (None, true) => {
                let fill = check::fill(path, self.root, bytes);
                Ok(format!("the segment {name} is there, {bytes} bytes{fill}"))
            }
            (None, false) => Ok(format!("there is room for the segment {name}")),
            (Some(true), true) => {
                let fill = check::fill(path, self.root, bytes);
                Ok(format!("the segment {name} is mapped, {bytes} bytes{fill}"))
            }
            (Some(_), false) => Err((
                format!("the segment {name} is not there: it was removed, or never made"),
                AGAIN,
            )),
            (Some(false), true) => Err((format!("the segment {name} is not mapped"), AGAIN)),
        }
    }
}
