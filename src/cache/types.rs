//! The words of the cache's interface: its policy, its answers, its figures, and what it asks of a session.

/// The choice of the session that is evicted from a full cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// The one that expires first; among equals the one stored first.
    #[default]
    EarliestExpiry,
    /// The one whose last store or lookup is longest ago. A lookup then has to take the order's lock,
    /// and a session costs another eight bytes.
    LeastRecentlyUsed,
}

/// The result of a store.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored<S> {
    /// A new key. When the cache was full, another session has left for it: see [`Eviction`].
    Added {
        /// The session that was evicted.
        evicted: Option<S>,
    },
    /// Another session had this key; it is handed back.
    Replaced(S),
    /// This very session was stored already; the caller's handle is handed back.
    Present(S),
    /// Nothing was stored: more than one session must leave first. Call [`Cache::evict`], then again.
    Full {
        /// The session to be stored.
        session: S,
        /// The session that had the key; it has left already.
        replaced: Option<S>,
    },
    /// Nothing was stored: no memory.
    NoMemory(S),
}

/// The figures of a cache since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Sessions stored under a new key, or in place of another one.
    pub stored: u64,
    /// Sessions evicted.
    pub evicted: u64,
    /// Sessions detached because their time had come.
    pub flushed: u64,
    /// Times that the order was locked to detach due sessions.
    pub batches: u64,
    /// Sessions taken out by key.
    pub taken: u64,
    /// Lookups that found a session.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
}

impl std::ops::Add for Statistics {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            stored: self.stored + other.stored,
            evicted: self.evicted + other.evicted,
            flushed: self.flushed + other.flushed,
            batches: self.batches + other.batches,
            taken: self.taken + other.taken,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
        }
    }
}

/// Is told of every change, with a lock held: an observer may do no more than write numbers down.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// Tells the number of sessions stored now, and the figures so far, lookups excepted.
    fn changed(&self, sessions: usize, done: &Statistics);
    /// A session was looked up.
    fn looked_up(&self, found: bool);
}

/// A stored session's handle, where `==` means "the same object".
pub trait Handle: Clone + PartialEq {
    /// One more cache stores the session. Called with locks held, before anybody can find the session there, so it
    /// may only count.
    fn enters(&self) {}
    /// One cache less does. The same holds.
    fn left(&self) {}
}
