//! The agent of a machine, which carries sealed sessions between the segment that its servers share and an engine that all
//! machines use. It has no key, so that it can neither read nor make a session.

pub mod agent;
pub mod arguments;
pub mod check;
pub mod engine;
pub mod http;
pub mod log;
pub mod status;
pub mod system;
