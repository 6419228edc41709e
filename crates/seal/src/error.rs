//! The reasons for which a key file cannot be used.

use std::{fmt, io};

use crate::file::MOST_BYTES;
use crate::key::{KeyId, MOST_KEYS};

/// The reason for which a key file cannot be used. No message contains key material.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be opened or read.
    File(io::Error),
    /// It is a symbolic link.
    Link,
    /// It is not a regular file.
    NotRegular,
    /// The file belongs to this user id, which is neither the process's own nor root's.
    Owner(u32),
    /// Others than the owner may use the file, which has these permissions.
    Permissions(u32),
    /// The file is larger than a key file can be.
    TooLarge,
    /// The file changed while it was read.
    Changed,
    /// This line is neither a key nor a comment.
    Line(usize),
    /// This line has an id that an earlier line has.
    Duplicate(usize, KeyId),
    /// This line has one key too many.
    TooMany(usize),
    /// There is no key.
    Empty,
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(formatter, "the file cannot be read: {error}"),
            Self::Link => formatter.write_str("it is a symbolic link; name the file itself"),
            Self::NotRegular => formatter.write_str("it is not a regular file"),
            Self::Owner(user) => write!(
                formatter,
                "the file belongs to user {user}; it must belong to this process's user or to root"
            ),
            Self::Permissions(mode) => write!(
                formatter,
                "the file has mode {mode:04o}; only its owner may have access (0600)"
            ),
            Self::TooLarge => write!(formatter, "the file has more than {MOST_BYTES} bytes"),
            Self::Changed => formatter.write_str("the file changed while it was read; try again"),
            Self::Line(line) => write!(
                formatter,
                "line {line} is not a key; a key is 8 hexadecimal digits, a space and 64 hexadecimal digits"
            ),
            Self::Duplicate(line, id) => {
                write!(formatter, "line {line} has the id {id}, which an earlier line has")
            }
            Self::TooMany(line) => {
                write!(formatter, "line {line} has a key too many; {MOST_KEYS} are allowed")
            }
            Self::Empty => formatter.write_str("the file has no key"),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            _ => None,
        }
    }
}
