#!/bin/sh
# tsan.sh [VERSION...]: ThreadSanitizer on the Rust tests of the cache, and on the threaded programs of the harness under
# a sanitised library and a sanitised libssl (3.5 by default), linked statically. tsan.supp says what is not reported
# and why. First, and always, that the sanitizer sees: known races must be reported.
#
# rustc has its part of the sanitizer on every channel, behind a switch of its own; the standard library stays as it
# is, since building that anew would need sources that the toolchain does not bring.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/tests-c/sanitizers
build=$top/build/tsan
target=$(rustc -vV | sed -n 's/^host: //p')
programs='flush_threads input_threads regress_threads hs_threads hs_free_during hs_stress_setters hs_stress sharing_threads'
export TSAN_OPTIONS="exitcode=66 history_size=7 second_deadlock_stack=1 suppressions=$here/tsan.supp"
export CARGO_TARGET_DIR="$build/target" RUSTC_BOOTSTRAP=1
sanitised='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer'
[ $# -gt 0 ] || set -- 3.5
mkdir -p "$build/lib"
cd "$top"

complain() {
    printf 'tsan.sh: %s\n' "$*" >&2
    exit 1
}
# reports WHAT WORDS COMMAND...: the command has a race, and the report has these words in it. (A race is
# reported only if both sides meet, so there are three tries.)
reports() {
    what=$1 words=$2
    shift 2
    for _ in 1 2 3; do
        status=0 missing=
        "$@" >"$build/log" 2>&1 || status=$?
        for word in $words; do grep -q "$word" "$build/log" || missing=$word; done
        [ $status != 66 ] || [ -n "$missing" ] || { echo "tsan: $what is reported" && return; }
    done
    complain "$what was not reported with $words in it: $build/log"
}

# shellcheck disable=SC2086 # a list of words
rustc --target "$target" $sanitised --edition 2024 -A warnings -o "$build/race" "$here/race.rs"
reports "a known race of Rust threads" data.race "$build/race"
# With --target, or what only the build runs would be sanitised, too.
RUSTFLAGS=$sanitised cargo test --quiet --locked --lib --target "$target" threads

# The library as it is released, but for the linking of all crates into one object, which takes minutes here.
CARGO_PROFILE_RELEASE_LTO=off RUSTFLAGS=$sanitised cargo rustc --quiet --release --locked --lib --crate-type staticlib --target "$target"
objcopy --wildcard --localize-symbol='*@OPENSSL_*' "$CARGO_TARGET_DIR/$target/release/libsslsweep.a" "$build/lib/libsslsweep.a"
# The share library, which the core finds by the loader's search.
share=libsslsweep-share.so.$(sed -n 's/^version = "\(0\.[0-9]*\|[1-9][0-9]*\)\..*/\1/p' Cargo.toml | head -n 1)
CARGO_PROFILE_RELEASE_LTO=off RUSTFLAGS=$sanitised cargo rustc --quiet --release --locked -p sslsweep-share --lib --crate-type staticlib --target "$target"
cc -shared -fsanitize=thread -o "$build/lib/$share" -Wl,-soname,"$share" -Wl,--version-script=crates/share/exports.map \
    -Wl,-u,sslsweep_share -Wl,--gc-sections "$CARGO_TARGET_DIR/$target/release/libsslsweep_share.a" -lgcc_s -lpthread -ldl -lc
cc -O1 -fno-builtin -x c -c -o "$build/memory.o" "$here/memory.inc"

for version; do
    prefix=$(python3 -B tools/libssl.py "$version" plt thread)
    # As make's variables they reach its recipes through the environment too.
    set -- LIBDIR="$build/lib" BUILD="$build/$version" CFLAGS='-O1 -g -fsanitize=thread' \
        STATIC_LIBS="$build/memory.o -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc" OPENSSL_CFLAGS="-I$prefix/include" \
        OPENSSL_LIBS="-L$prefix/lib -lssl -lcrypto" LD_LIBRARY_PATH="$prefix/lib" TEST_WAYS=static TEST_TIMEOUT=400
    make -s --no-print-directory -C tests-c -j 2 all "$@" TEST_NAMES="$programs"
    # Without the list: a race in libssl, one of its two sides by way of our setters.
    reports "a known race through program, library and libssl $version" 'SSL_SESSION_set_time src/exports/session.rs ssl/ssl_sess.c' \
        env TSAN_OPTIONS=exitcode=66 LD_LIBRARY_PATH="$prefix/lib" TEST_SLOW=1 "$build/$version/static/hs_stress_setters"
    STRESS_SECONDS=20 TEST_SLOW=1 make -s --no-print-directory -C tests-c check "$@" TEST_NAMES="$programs"
done
