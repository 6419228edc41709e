//! What sslsweep and its share library tell each other.

mod events;
mod table;

pub use events::*;
pub use table::*;

/// Programs that never share, by the names of their files: FTP servers, which accept a data connection because it resumes the
/// session of the control connection. With sharing, anybody's session would do.
pub const EXCLUDED: [&str; 3] = ["vsftpd", "proftpd", "pure-ftpd"];
