//! Compiles what makes the calls: C, for OpenSSL's macros, and with the helpers of the C harness.

use std::env;

fn main() {
    let words = |name| env::var(name).unwrap_or_default();
    println!("cargo:rerun-if-env-changed=OPENSSL_CFLAGS");
    println!("cargo:rerun-if-env-changed=OPENSSL_LIBS");
    println!("cargo:rerun-if-changed=calls.c");
    println!("cargo:rerun-if-changed=../../tests-c/support");

    let mut build = cc::Build::new();
    build.files([
        "calls.c",
        "../../tests-c/support/support.c",
        "../../tests-c/support/handshake.c",
    ]);
    build.include("../../tests-c/support").define("_GNU_SOURCE", None).std("c11").opt_level(1);
    build.flag("-Wno-deprecated-declarations").warnings_into_errors(true);
    words("OPENSSL_CFLAGS").split_whitespace().for_each(|flag| {
        build.flag(flag);
    });
    build.compile("calls");

    // A preloaded library that is instrumented finds libFuzzer's counters in the program.
    println!("cargo:rustc-link-arg-bin=calls=-rdynamic");
    for flag in words("OPENSSL_LIBS").split_whitespace() {
        println!("cargo:rustc-link-arg-bin=calls={flag}");
    }
}
