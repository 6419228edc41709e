//! The user and the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// The user whose files we may read; root reads all.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}
