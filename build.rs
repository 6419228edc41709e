//! Gives the shared library its SONAME, and generates the C header from the Rust documentation.

use std::env;
use std::path::PathBuf;

fn main() {
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    // Before 1.0 every minor version may change the ABI, from then on every major one.
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    let abi = if major == "0" { format!("0.{minor}") } else { major.to_owned() };
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsslsweep.so.{abi}");
    // Everything is bound when the program starts, and the tables are read-only after that.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=src/exports");
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let header = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/exports/flush.rs"))
        .with_src(root.join("src/exports/own.rs"))
        .generate()
        .expect("the header is generated from src/exports/{flush,own}.rs");
    // `make header` copies it to include/, and tests-c/symbols.t compares.
    header.write_to_file(out.join("sslsweep.h"));
}
