//! The wall clock, which is the one that sessions expire by.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::system;

/// Seconds since the epoch, as `time(NULL)`.
pub(crate) fn now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    }
}

/// The same, up to a tick of the clock behind, for a small part of the cost.
pub(crate) fn about_now() -> i64 {
    system::time(None)
}
