//! Fuzzes the cache against the oracle of its unit tests: four bytes are an operation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sslsweep::cache::Eviction;
use sslsweep::cache::oracle::{self, Operation};

fuzz_target!(|data: &[u8]| {
    let script: Vec<_> = data
        .chunks_exact(4)
        .map(|bytes| Operation::from_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    for eviction in [Eviction::EarliestExpiry, Eviction::LeastRecentlyUsed] {
        if let Err(difference) = oracle::agrees(eviction, &script) {
            panic!("{eviction:?}: {difference}");
        }
    }
});
