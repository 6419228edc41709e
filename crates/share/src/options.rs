//! What the environment asks for. A bad value is told in one line, and nothing is shared (P7).

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use sslsweep_segment::Segment;

/// The memory that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// That of this process and those that it forks, with a key of their own.
    Family,
    /// A file, and the file with its keys.
    Host { path: PathBuf, keys: PathBuf },
}

/// What the environment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) place: Place,
    pub(crate) bytes: u64,
}

/// Why a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad(String);

impl fmt::Display for Bad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The longest wait that an operator can ask for, in milliseconds.
const LONGEST_WAIT: u64 = 20;

fn bad(value: &[u8], why: &str) -> Bad {
    Bad(format!("SSLSWEEP_SHARE={} {why}; nothing is shared", shown(value)))
}

/// The beginning of a value, in one printable line.
fn shown(value: &[u8]) -> impl fmt::Display + '_ {
    value[..value.len().min(64)].escape_ascii()
}

/// Reads the value of `SSLSWEEP_SHARE_WAIT`: how long a handshake may wait for the fleet. (A bad value is no reason to share
/// nothing.)
pub(crate) fn wait(value: Option<OsString>) -> Result<Duration, Bad> {
    let Some(value) = value else { return Ok(Duration::ZERO) };
    let value = value.as_bytes();
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let millis: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    millis.filter(|&millis| millis <= LONGEST_WAIT).map(Duration::from_millis).ok_or_else(|| {
        let (shown, most) = (shown(value), LONGEST_WAIT);
        Bad(format!(
            "SSLSWEEP_SHARE_WAIT={shown} is no number of milliseconds from 0 to {most}; using 0"
        ))
    })
}

impl Options {
    /// Reads the values of `SSLSWEEP_SHARE` and `SSLSWEEP_SHARE_KEY`.
    pub(crate) fn read(share: OsString, keys: Option<OsString>) -> Result<Self, Bad> {
        let value = share.as_bytes();
        let (kind, rest) = split(value);
        match kind {
            b"family" => {
                let bytes = rest.map_or(Some(Segment::DEFAULT_BYTES), size);
                let bytes = bytes.ok_or_else(|| bad(value, "has no size like 64m"))?;
                Ok(Self { place: Place::Family, bytes })
            }
            b"host" => Self::host(value, rest.unwrap_or_default(), keys),
            _ => Err(bad(value, "is neither family[:SIZE] nor host:PATH[:SIZE]")),
        }
    }

    fn host(value: &[u8], rest: &[u8], keys: Option<OsString>) -> Result<Self, Bad> {
        // A path may have colons in it: what follows the last one is a size if it looks like one.
        let (path, bytes) = match rest.iter().rposition(|&byte| byte == b':') {
            Some(at) if rest.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                let bytes = size(&rest[at + 1..]);
                (&rest[..at], bytes.ok_or_else(|| bad(value, "has no size like 64m"))?)
            }
            _ => (rest, Segment::DEFAULT_BYTES),
        };
        if path.first() != Some(&b'/') {
            return Err(bad(value, "has no absolute path"));
        }
        let keys = keys.filter(|keys| !keys.is_empty());
        let keys = keys.ok_or_else(|| bad(value, "needs a key file, in SSLSWEEP_SHARE_KEY"))?;
        let path = std::ffi::OsStr::from_bytes(path).into();
        Ok(Self { place: Place::Host { path, keys: keys.into() }, bytes })
    }
}

/// What comes before the first colon, and after it.
fn split(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match value.iter().position(|&byte| byte == b':') {
        Some(at) => (&value[..at], Some(&value[at + 1..])),
        None => (value, None),
    }
}

/// A number of bytes, with k, m or g for the powers of 1,024.
fn size(text: &[u8]) -> Option<u64> {
    let (digits, unit) = match text.split_last()? {
        (b'k' | b'K', digits) => (digits, 1 << 10),
        (b'm' | b'M', digits) => (digits, 1 << 20),
        (b'g' | b'G', digits) => (digits, 1 << 30),
        _ => (text, 1),
    };
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(unit).filter(|&bytes| bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(share: &str, keys: Option<&str>) -> Result<Options, Bad> {
        Options::read(share.into(), keys.map(Into::into))
    }

    fn host(path: &str, bytes: u64) -> Result<Options, Bad> {
        Ok(Options { place: Place::Host { path: path.into(), keys: "/k".into() }, bytes })
    }

    #[test]
    fn p7_values() {
        let family = |bytes| Ok(Options { place: Place::Family, bytes });
        assert_eq!(read("family", None), family(64 << 20));
        assert_eq!(read("family:1g", Some("/k")), family(1 << 30));
        assert_eq!(read("family:65536", None), family(65536));
        assert_eq!(read("host:/dev/shm/a", Some("/k")), host("/dev/shm/a", 64 << 20));
        assert_eq!(read("host:/a:16M", Some("/k")), host("/a", 16 << 20));
        assert_eq!(read("host:/a:b", Some("/k")), host("/a:b", 64 << 20));
        assert_eq!(read("host:/a:b:4k", Some("/k")), host("/a:b", 4 << 10));
    }

    #[test]
    fn p7_waits() {
        let wait = |value: &str| super::wait(Some(value.into()));
        assert_eq!(super::wait(None), Ok(Duration::ZERO));
        for (value, millis) in [("0", 0), ("1", 1), ("20", 20), ("007", 7)] {
            assert_eq!(wait(value), Ok(Duration::from_millis(millis)), "{value}");
        }
        let bad = ["", "21", "-1", "+1", "1.5", "5ms", " 5", "1\n", "99999999999999999999"];
        for value in bad {
            let Bad(text) = wait(value).unwrap_err();
            assert!(text.starts_with("SSLSWEEP_SHARE_WAIT="), "{text}");
            assert!(text.ends_with("using 0") && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn p7_bad_values_are_one_printable_line() {
        let sizes = ["family:", "family:0", "family:-1", "family:1t", "family:99999999999g"];
        let others = ["", "yes", "family ", "host", "host:", "host:a", "host:/a:9z", "a\nb\u{1b}"];
        for value in sizes.iter().chain(&others) {
            let Bad(text) = read(value, Some("/k")).unwrap_err();
            assert!(text.starts_with("SSLSWEEP_SHARE="), "{text}");
            assert!(text.ends_with("nothing is shared"), "{text}");
            assert!(!text.contains(['\n', '\u{1b}']), "{text}");
        }
        for keys in [None, Some("")] {
            assert!(read("host:/a", keys).unwrap_err().0.contains("SSLSWEEP_SHARE_KEY"));
        }
    }
}
