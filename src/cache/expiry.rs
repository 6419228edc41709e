//! Times, in whole seconds since the epoch.

/// The second at which a session expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(i64);

impl Expiry {
    /// Never: what an overflow of time and timeout comes to.
    pub const NEVER: Self = Self(i64::MAX);

    /// A session's time plus its timeout, in seconds, saturating.
    pub const fn new(time: i64, timeout: i64) -> Self {
        Self(time.saturating_add(timeout))
    }

    /// The expiry at this second.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0
    }
}

/// Which sessions a flush removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    /// All of them.
    All,
    /// Those that expire before this second, strictly.
    Before(i64),
}

impl Cutoff {
    /// The cutoff of a flush at this second, as OpenSSL's functions take it: 0 is for all sessions.
    pub const fn at(tm: i64) -> Self {
        match tm {
            0 => Self::All,
            _ => Self::Before(tm),
        }
    }

    /// The second that [`Cutoff::at`] takes.
    pub const fn tm(self) -> i64 {
        match self {
            Self::All => 0,
            Self::Before(second) => second,
        }
    }

    /// Returns whether a session with this expiry is removed.
    pub const fn reaches(self, expiry: Expiry) -> bool {
        match self {
            Self::All => true,
            Self::Before(second) => expiry.0 < second,
        }
    }
}
