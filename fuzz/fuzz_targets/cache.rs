//! Fuzzes the cache against the oracle of its unit tests: four bytes are an operation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sslsweep::cache::oracle::{self, Operation};

fuzz_target!(|data: &[u8]| {
    let script: Vec<_> = data.as_chunks().0.iter().map(|&bytes| Operation::from_bytes(bytes)).collect();
    if let Err(difference) = oracle::agrees(&script) {
        panic!("{difference}");
    }
});
