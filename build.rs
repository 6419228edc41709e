//! Generates the C header from the Rust documentation.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=src/exports");

    // What C calls is made by a macro (src/exports/entries.rs), which cbindgen cannot look into: it
    // gets the functions as they would be without version nodes.
    let flush =
        fs::read_to_string(root.join("src/exports/flush.rs")).expect("src/exports/flush.rs");
    let flush = flush
        .replace("pub(super) fn", "#[unsafe(no_mangle)] pub unsafe extern \"C\" fn")
        .replace("real: impl RealFn<()>,", "")
        .replace("Option<CtxRef<'_>>", "*mut ssl_ctx_st");
    let plain = out.join("flush.rs");
    fs::write(&plain, flush).expect("OUT_DIR can be written to");

    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let header = cbindgen::Builder::new()
        .with_config(config)
        .with_src(plain)
        .with_src(root.join("src/exports/own.rs"))
        .generate()
        .expect("the header is generated from src/exports/{flush,own}.rs");
    // `make header` copies it to include/, and checks/abi/library.t compares.
    header.write_to_file(out.join("sslsweep.h"));
}
