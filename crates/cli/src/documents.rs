//! Files of the documentation that the command itself makes: `make pictures` writes them, and the tests fail if one is
//! out of date.

use std::fs;
use std::path::Path;

/// Compares the file with this text, or writes it if `SSLSWEEP_WRITE_DOCUMENTS` is set.
pub fn check(path: &str, text: &str) {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("SSLSWEEP_WRITE_DOCUMENTS").is_some() {
        fs::write(&whole, text).expect("the file can be written");
    }
    let there = fs::read_to_string(&whole).unwrap_or_default();
    assert!(there == text, "{path} is not what the command says; please run: make pictures");
}
