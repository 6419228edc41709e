//! Generates the C header from the Rust documentation.

use std::env;
use std::path::PathBuf;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=src/exports");

    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let header = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/exports/header.rs"))
        .with_src(root.join("src/exports/own.rs"))
        .generate()
        .expect("the header is generated from src/exports/{header,own}.rs");
    // `make header` copies it to include/, and checks/abi/library.t compares.
    header.write_to_file(out.join("sslsweep.h"));
}
