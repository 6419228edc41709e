//! Why the engine is of no use at the moment.

use std::fmt;

use redis::{RedisError, ServerError};

/// The reason for which an operation on the engine has failed, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    what: String,
    /// Whether waiting helps nobody.
    by_settings: bool,
}

impl Error {
    /// What the operator has said cannot be.
    pub(crate) fn settings(what: impl Into<String>) -> Self {
        Self { what: what.into(), by_settings: true }
    }

    /// The engine has answered something that it should not.
    pub(crate) fn answer(what: impl Into<String>) -> Self {
        Self { what: what.into(), by_settings: false }
    }

    /// Returns whether the settings are wrong, so that another attempt would end in the same way.
    pub fn is_in_settings(&self) -> bool {
        self.by_settings
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

/// What the engine says may be anything: a line of the log gets printable text of a bounded length.
fn printable(text: &str) -> String {
    const MOST: usize = 200;
    text.chars().take(MOST).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::answer("no answer within the time limit");
        }
        Self::answer(printable(&error.to_string()))
    }
}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        Self::answer(printable(&format!(
            "{} {}",
            error.code(),
            error.details().unwrap_or_default()
        )))
    }
}
