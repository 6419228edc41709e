//! What sslsweep and its share library tell each other.

mod events;
mod table;

pub use events::*;
pub use table::*;
