//! The reasons for which a segment cannot be had.

use std::{fmt, io};

/// The reason for which a segment cannot be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The size is too small for one bucket, or larger than the address space.
    Size,
    /// The memory cannot be mapped.
    Map(io::Error),
    /// The file cannot be opened, examined, created or linked into place.
    File(io::Error),
    /// There is no room for the file on its file system.
    Room(io::Error),
    /// It is not a regular file.
    NotRegular,
    /// The file belongs to this user id, which is neither the process's own nor root's.
    Owner(u32),
    /// The file is for a group with this id, which is none of the process's, or not the one that was asked for.
    Group(u32),
    /// The file has these permissions, which are neither 0600 nor 0660.
    Permissions(u32),
    /// The file is for a group, and others may write to its folder, which has these permissions.
    Folder(u32),
    /// Another agent is attached.
    Attached,
    /// The file has another size than was asked for.
    FileSize {
        /// Bytes in the file.
        found: u64,
        /// Bytes that were asked for, in whole buckets.
        wanted: u64,
    },
    /// The file does not begin as a segment does.
    NotSegment,
    /// The file was made by a version of sslsweep with another layout.
    Layout(u64),
    /// The header names another size or other slots than the file has.
    Geometry,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => formatter
                .write_str("this size is impossible; ask for 12 KiB or more (64m is usual)"),
            Self::Map(error) => write!(formatter, "the memory cannot be mapped: {error}"),
            Self::File(error) => write!(formatter, "the file cannot be used: {error}"),
            Self::Room(error) => write!(formatter, "there is no room for the file: {error}"),
            Self::NotRegular => formatter.write_str("it is not a regular file"),
            Self::Owner(user) => write!(
                formatter,
                "the file belongs to user {user}; it must belong to this process's user or to root"
            ),
            Self::Group(group) => write!(
                formatter,
                "the file is for group {group}; start this process in that group, or remove the file while no \
                 process uses it"
            ),
            Self::Permissions(mode) => write!(
                formatter,
                "the file has mode {mode:04o}; only its owner may have access (0600), or its owner and group (0660)"
            ),
            Self::Folder(mode) => write!(
                formatter,
                "the folder has mode {mode:04o}; others may not write to it if the file is for a group"
            ),
            Self::Attached => formatter.write_str(
                "another agent is attached to the segment; stop it, or wait until it ends",
            ),
            Self::FileSize { found, wanted } => write!(
                formatter,
                "the file has {found} bytes instead of {wanted}; ask for the same size everywhere, or remove \
                 the file while no process uses it"
            ),
            Self::NotSegment => formatter.write_str(
                "the file is not a segment of sslsweep; name another file, or remove it",
            ),
            Self::Layout(layout) => write!(
                formatter,
                "the file has layout {layout}, of another version of sslsweep; remove it while no process \
                 uses it"
            ),
            Self::Geometry => formatter.write_str(
                "the file's header does not fit its size; remove it while no process uses it",
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Map(error) | Self::File(error) | Self::Room(error) => Some(error),
            _ => None,
        }
    }
}
