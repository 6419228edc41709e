//! Standard output, standard error and the exit status.

use std::io::{self, Write};

use crate::text::plain;

/// The end of a command that could not do all it should.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// The message, if it has not been said yet.
    pub message: Option<String>,
}

impl Failure {
    /// A failure with a message.
    pub fn new(status: u8, message: impl Into<String>) -> Failure {
        Failure { status, message: Some(message.into()) }
    }

    /// A failure whose message has been said.
    pub fn silent(status: u8) -> Failure {
        Failure { status, message: None }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(1, plain(&error))
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::new(1, message)
    }
}

/// Writes a line to standard error. A failure is ignored, because nobody could be told.
pub fn say(message: &str) {
    let _ = writeln!(io::stderr(), "sslsweep: {message}");
}

/// Writes text to standard output.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
