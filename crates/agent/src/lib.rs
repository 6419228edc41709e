//! The agent of a machine, which carries sealed sessions between the segment that its servers share and an engine that all
//! machines use. It has no key, so that it can neither read nor make a session.

pub mod arguments;
pub mod engine;
