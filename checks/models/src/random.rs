//! Under shuttle: random schedules of more threads, which do more.

use shuttle as checker;

#[path = "../../../src/cache/mod.rs"]
pub mod cache;
#[path = "ledger.rs"]
pub mod ledger;
#[path = "sync.rs"]
mod sync;
