//! Tells the cache and the segment, which this crate compiles from the product's folders, that they are in a model.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(sslsweep_model)");
    println!("cargo:rustc-cfg=sslsweep_model");
}
