#!/bin/sh
# tsan.sh [VERSION...]: ThreadSanitizer on the Rust tests of the cache, and on the threaded programs of the harness under
# a sanitised library and a sanitised libssl (3.5 by default), linked statically. tsan.supp says what is not reported
# and why. First, and always, that the sanitizer sees: known races must be reported.
#
# rustc has its part of the sanitizer on every channel, behind a switch of its own; the standard library stays as it
# is, since building that anew would need sources that the toolchain does not bring.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$root/build/tsan
mkdir -p "$build/lib"
build=$(cd "$build" && pwd)
target=$(rustc -vV | sed -n 's/^host: //p')
programs='flush_threads input_threads regress_threads hs_threads hs_free_during hs_stress_setters hs_stress'
[ $# -gt 0 ] || set -- 3.5

complain() {
    printf 'tsan.sh: %s\n' "$*" >&2
    exit 1
}
quietly() { # a command, whose output is shown when it fails
    "$@" >"$build/log" 2>&1 && return
    cat "$build/log" >&2
    complain "failed: $*"
}

export TSAN_OPTIONS="exitcode=66 history_size=7 second_deadlock_stack=1 suppressions=$here/tsan.supp"
export CARGO_TARGET_DIR="$build/target"
rust() { # a command: sanitised code, but not what only the build runs (hence --target)
    env RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer' "$@"
}

# ---- Rust ----

cat >"$build/race.rs" <<'PROGRAM'
static mut COUNT: u64 = 0;
fn main() {
    let add = || for _ in 0..1000 { unsafe { COUNT += 1 } };
    std::thread::scope(|scope| { scope.spawn(add); scope.spawn(add); });
}
PROGRAM
quietly rust sh -c "rustc --target $target \$RUSTFLAGS --edition 2024 -A warnings -o '$build/race' '$build/race.rs'"
status=0
"$build/race" >"$build/log" 2>&1 || status=$?
{ [ $status = 66 ] && grep -q 'data race' "$build/log"; } || complain "a known race of Rust threads was not reported"
echo "tsan: a known race of Rust threads is reported"

(cd "$root" && rust cargo test --quiet --locked --lib --target "$target" threads)

# ---- C ----

# The library as it is released, but for the linking of all crates into one object, which takes minutes here.
(cd "$root" && CARGO_PROFILE_RELEASE_LTO=off quietly rust cargo rustc --release --locked --lib --crate-type staticlib --target "$target")
objcopy --wildcard --localize-symbol='*@OPENSSL_*' "$build/target/$target/release/libsslsweep.a" "$build/lib/libsslsweep.a"

# rustc's sanitizer calls these; they are newer than what some compilers' runtime has, to which memcpy is known.
cat >"$build/memory.c" <<'PROGRAM'
#include <string.h>
__attribute__((weak)) void *__tsan_memcpy(void *to, const void *from, size_t n) { return memcpy(to, from, n); }
__attribute__((weak)) void *__tsan_memmove(void *to, const void *from, size_t n) { return memmove(to, from, n); }
__attribute__((weak)) void *__tsan_memset(void *at, int byte, size_t n) { return memset(at, byte, n); }
PROGRAM
quietly cc -O1 -fno-builtin -c -o "$build/memory.o" "$build/memory.c"

for version; do
    prefix=$(sh "$root/tools/libssl.sh" "$version" plt thread)
    # As make's variables they reach its recipes through the environment too.
    set -- LIBDIR="$build/lib" BUILD="$build/$version" CFLAGS='-O1 -g -fsanitize=thread' \
        STATIC_LIBS="$build/memory.o -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc" OPENSSL_CFLAGS="-I$prefix/include" \
        OPENSSL_LIBS="-L$prefix/lib -lssl -lcrypto" LD_LIBRARY_PATH="$prefix/lib" TEST_WAYS=static TEST_TIMEOUT=400
    quietly make -s --no-print-directory -C "$root/tests-c" -j 2 all "$@" TEST_NAMES="$programs"

    # Without the list: a race in libssl, one of its two sides by way of our setters.
    status=0
    TSAN_OPTIONS='exitcode=66' LD_LIBRARY_PATH=$prefix/lib TEST_SLOW=1 "$build/$version/static/hs_stress_setters" \
        >"$build/log" 2>&1 || status=$?
    for part in SSL_SESSION_set_time src/exports/session.rs ssl/ssl_sess.c; do
        { [ $status = 66 ] && grep -q "$part" "$build/log"; } ||
            complain "a known race was not reported with $part in it: $build/log"
    done
    echo "tsan: $version: a known race through program, library and libssl is reported"

    STRESS_SECONDS=20 TEST_SLOW=1 make -s --no-print-directory -C "$root/tests-c" check "$@" TEST_NAMES="$programs"
done
