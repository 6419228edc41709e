//! How a call reached us.

use std::ffi::CStr;

/// The version node that a call was bound to: the linker's word on which libssl its caller is linked
/// with. Each export exists under each (`src/exports/entries.rs`), so that the dynamic linker sorts
/// the callers of several libssl in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Node {
    /// None: the plain names of the static library, and a flush that is looked up without a version.
    Own,
    /// OpenSSL 1.1.1.
    V1_1,
    /// OpenSSL 3.
    V3,
    /// OpenSSL 4.
    V4,
}

/// The loader knows no version nodes, as musl's: every caller that reaches us by a plain name would be bound to the first
/// object behind us that has it, whatever the caller is linked with.
pub(super) const ONE_NAMESPACE: bool = cfg!(target_env = "musl");

impl Node {
    pub(super) const ALL: [Self; 4] = [Self::Own, Self::V1_1, Self::V3, Self::V4];

    /// The version of what a libssl of this node has always had.
    pub(super) fn version(self) -> Option<&'static CStr> {
        match self {
            Self::Own => None,
            Self::V1_1 => Some(c"OPENSSL_1_1_0"),
            Self::V3 => Some(c"OPENSSL_3.0.0"),
            Self::V4 => Some(c"OPENSSL_4.0.0"),
        }
    }
}
