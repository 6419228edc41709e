//! Lines on standard error, each by one write, so that lines of several threads do not mix.

use std::io::Write;

/// Writes `sslsweep: TEXT`. A standard error that is closed or full is no reason to fail.
pub(crate) fn line(text: &str) {
    let _ = std::io::stderr()
        .write_all(format!("sslsweep[{}]: {text}\n", std::process::id()).as_bytes());
}
