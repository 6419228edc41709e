//! sslsweep: a session cache that programs with OpenSSL get by `LD_PRELOAD` or by relinking.
//!
//! Layers, dependencies only downward (`docs/architecture.md`):
//!
//! ```text
//! exports    every C symbol: validate, delegate, return
//! takeover   the SSL_CTX that is taken over, and what libssl calls
//! cache      the engine: pure safe Rust, knows nothing of OpenSSL
//! libssl     at the side: the real library
//! system     below all: the operating system's functions
//! ```

#![cfg_attr(
    target_env = "musl",
    allow(deprecated, reason = "time_t, which has 64 bits on every 64-bit Linux")
)]

#[forbid(unsafe_code)]
pub mod cache;

// The names of the exports are OpenSSL's; only `flush` and `own` are ours to declare in the header.
mod exports;
mod guard;
mod libssl;
mod memory;
mod options;
mod published;
mod report;
mod sharing;
mod stack;
mod sync;
mod system;
mod takeover;
mod time;
