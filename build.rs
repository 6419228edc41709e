//! Refuses targets that the library is not for, and generates the C header from the Rust documentation.

use std::env;
use std::path::PathBuf;

fn main() {
    if let Some(reason) = refusal() {
        println!("cargo::error={reason}");
        return;
    }
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

/// Why the library cannot be built for this target, if it cannot. Said before anything of ours is compiled: beside a
/// `compile_error!` the compiler reports each type that does not fit as well, and the reason drowns.
fn refusal() -> Option<&'static str> {
    let target = |what: &str| env::var(format!("CARGO_CFG_TARGET_{what}")).expect("cargo sets it");
    // time_t and long are taken to hold 64 bits, as they do on every 64-bit Linux.
    if target("POINTER_WIDTH") != "64" {
        return Some(
            "sslsweep is for 64-bit systems; 32-bit programs run beside it, on libssl alone",
        );
    }
    // The entries of the exports are written in assembly, and relocations have a processor's own numbers.
    if !["x86_64", "aarch64"].contains(&target("ARCH").as_str()) {
        return Some("sslsweep is for x86-64 and arm64 (aarch64)");
    }
    None
}
