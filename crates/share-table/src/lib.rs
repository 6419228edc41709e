//! What sslsweep and its share library tell each other.

mod events;

pub use events::*;
