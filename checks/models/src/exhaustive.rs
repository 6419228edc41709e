//! Under loom: every schedule of a few threads, and every value that an atomic may show them.

use loom as checker;

#[path = "../../../src/cache/mod.rs"]
pub mod cache;
#[path = "../../../crates/segment/src/fleet/mod.rs"]
pub mod fleet;
#[path = "ledger.rs"]
pub mod ledger;
#[path = "../../../crates/segment/src/slots/mod.rs"]
pub mod slots;
#[path = "sync.rs"]
mod sync;
