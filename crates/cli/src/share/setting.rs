//! The value of `SSLSWEEP_SHARE`: `family[:SIZE]` or `host:/absolute/PATH[:SIZE]`.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::text::printable;

/// The size of a segment if the value names none.
const DEFAULT_BYTES: u64 = 64 << 20;
/// A segment has two header pages and at least one page of slots, and only whole pages.
const PAGE: u64 = 4096;

/// Where sessions are shared, and in how many bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// In memory of a process and its children.
    Family(u64),
    /// In a file, by unrelated processes.
    Host(PathBuf, u64),
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Family(bytes) => write!(formatter, "family, {bytes} bytes"),
            Setting::Host(path, bytes) => {
                write!(formatter, "host, {}, {bytes} bytes", printable(path.as_os_str().as_bytes()))
            }
        }
    }
}

/// Reads a value. The message of an error follows the value.
pub fn setting(value: &[u8]) -> Result<Setting, &'static str> {
    let (place, rest) = split(value);
    match place {
        b"family" => Ok(Setting::Family(size(rest)?)),
        b"host" => {
            let (path, bytes) = host(rest.ok_or("host needs a path: host:/PATH")?)?;
            if !path.starts_with(b"/") {
                return Err("the path of host must be absolute: host:/PATH");
            }
            Ok(Setting::Host(Path::new(OsStr::from_bytes(path)).to_path_buf(), bytes))
        }
        _ => Err("it is neither family[:SIZE] nor host:/PATH[:SIZE]"),
    }
}

/// Splits a path and its size. A path may have colons in it: what follows the last one is a size if it begins with a digit.
fn host(rest: &[u8]) -> Result<(&[u8], u64), &'static str> {
    match rest.iter().rposition(|&byte| byte == b':') {
        Some(at) if rest.get(at + 1).is_some_and(u8::is_ascii_digit) => {
            Ok((&rest[..at], size(Some(&rest[at + 1..]))?))
        }
        _ => Ok((rest, DEFAULT_BYTES)),
    }
}

/// Splits a value at its first colon.
fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match value.iter().position(|&byte| byte == b':') {
        Some(at) => (&value[..at], Some(&value[at + 1..])),
        None => (value, None),
    }
}

fn size(text: Option<&[u8]>) -> Result<u64, &'static str> {
    const WRONG: &str = "the size is not a number with k, m or g behind it, as in 64m";
    let Some(text) = text else { return Ok(DEFAULT_BYTES) };
    let (digits, shift) = match text {
        [digits @ .., b'k' | b'K'] => (digits, 10),
        [digits @ .., b'm' | b'M'] => (digits, 20),
        [digits @ .., b'g' | b'G'] => (digits, 30),
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    let number: Option<u64> = std::str::from_utf8(digits).ok().and_then(|it| it.parse().ok());
    let bytes = number.and_then(|number| number.checked_mul(1 << shift)).ok_or(WRONG)?;
    match bytes - bytes % PAGE {
        bytes if bytes < 3 * PAGE => Err("the size must be 12k or more (64m is usual)"),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values() {
        let host = |path: &str, bytes| Ok(Setting::Host(PathBuf::from(path), bytes));
        for (value, wanted) in [
            ("family", Ok(Setting::Family(64 << 20))),
            ("family:12k", Ok(Setting::Family(12 << 10))),
            ("family:2g", Ok(Setting::Family(2 << 30))),
            ("family:15000", Ok(Setting::Family(12_288))),
            ("host:/run/web/tls", host("/run/web/tls", 64 << 20)),
            ("host:/run/a:b", host("/run/a:b", 64 << 20)),
            ("host:/run/a:b:64K", host("/run/a:b", 64 << 10)),
            ("host:/dev/shm/two words:16m", host("/dev/shm/two words", 16 << 20)),
        ] {
            assert_eq!(setting(value.as_bytes()), wanted, "{value}");
        }
    }

    #[test]
    fn wrong_values() {
        for (value, why) in [
            ("", "neither"),
            ("Family", "neither"),
            ("families", "neither"),
            ("/run/web/tls", "neither"),
            ("host", "needs a path"),
            ("host:", "absolute"),
            ("host:tls", "absolute"),
            ("family:", "not a number"),
            ("family:m", "not a number"),
            ("family:+64m", "not a number"),
            ("family:64mb", "not a number"),
            ("family:64 m", "not a number"),
            ("family:64m:64m", "not a number"),
            ("host:/run/a:9z", "not a number"),
            ("family:99999999999999999999", "not a number"),
            ("family:99999999999g", "not a number"),
            ("family:0", "12k or more"),
            ("family:11k", "12k or more"),
        ] {
            let message = setting(value.as_bytes()).expect_err(value);
            assert!(message.contains(why), "{value}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(value: Vec<u8>) {
            if let Ok(Setting::Family(bytes) | Setting::Host(_, bytes)) = setting(&value) {
                prop_assert!(bytes >= 2 * PAGE && bytes % PAGE == 0);
            }
        }
    }
}
