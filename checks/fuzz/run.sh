#!/bin/sh
# run.sh: builds the fuzzers and lets each run for a while, from the corpora that are kept (`make fuzz`).
#
#   FUZZ_SECONDS  for each fuzzer; 20 by default
#   FUZZERS       cache, calls, or both
#   LIBSSL        system, a release that tools/libssl.sh builds, or a folder with include/ and lib/
#   LINKAGE       symbolic or plt, of such a release
#   GROW=1        put what new inputs reach into the corpora, as few inputs as will do
#
# A finding is kept below build/fuzz/found/ and named. To see it again: build/fuzz/LIBSSL/NAME FILE, as run.sh
# prints it; with -minimize_crash=1 -runs=100000 it becomes shorter. What is mended goes to checks/fuzz/regressions/NAME/.
#
# Coverage comes from options of a stable rustc, libFuzzer from the crate libfuzzer-sys, which needs a C++ compiler.
# (cargo-fuzz was rejected: it wants a nightly rustc, and knows no preloaded library.)
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
seconds=${FUZZ_SECONDS:-20}
fuzzers=${FUZZERS:-cache calls}
libssl=${LIBSSL:-system}
built=$top/build/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

if [ "$libssl" = system ]; then
    cell=system
    OPENSSL_LIBS='-lssl -lcrypto'
else
    case $libssl in
    /*) prefix=$libssl cell=$(basename "$(dirname "$libssl")")-$(basename "$libssl") ;;
    *)
        prefix=$(sh tools/libssl.sh "$libssl" "${LINKAGE:-symbolic}")
        cell=$libssl-${LINKAGE:-symbolic}
        ;;
    esac
    OPENSSL_CFLAGS=-I$prefix/include
    OPENSSL_LIBS="-L$prefix/lib -lssl -lcrypto"
    export OPENSSL_CFLAGS LD_LIBRARY_PATH="$prefix/lib"
fi
export OPENSSL_LIBS

RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table'
RUSTFLAGS=$(echo "$RUSTFLAGS" | tr -s ' \n' ' ')
CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$built/target}
export RUSTFLAGS CARGO_TARGET_DIR

# The library as it is, but that it counts where it goes, checks itself, and dies of a panic.
library() { # output
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
        CARGO_PROFILE_RELEASE_PANIC=abort cargo rustc --quiet --release --locked --lib --crate-type staticlib \
        --target "$host"
    sed 's/sslsweep_\*;/& __sanitizer_cov_*;/' checks/abi/nodes.map >"$built/nodes.map"
    cc -shared -o "$1" -Wl,--version-script="$built/nodes.map" -Wl,-u,sslsweep_version -Wl,-z,relro,-z,now,-z,defs \
        checks/fuzz/no_coverage.c "$CARGO_TARGET_DIR/$host/release/libsslsweep.a" -lgcc_s -lpthread -ldl -lc
}

mkdir -p "$built/$cell" "$built/found"
(cd checks/fuzz && cargo build --quiet --release --locked --target "$host")
for fuzzer in $fuzzers; do
    cp "$CARGO_TARGET_DIR/$host/release/$fuzzer" "$built/$cell/$fuzzer"
done
library "$built/libsslsweep.so"

status=0
for fuzzer in $fuzzers; do
    found=$built/found/$fuzzer-$cell
    corpus=$built/corpus/$fuzzer
    mkdir -p "$corpus" "$found" "checks/fuzz/corpus/$fuzzer"
    preload=
    [ "$fuzzer" = cache ] || preload=$built/libsslsweep.so
    fuzz() { # more arguments
        LD_PRELOAD=$preload "$built/$cell/$fuzzer" -timeout=20 -rss_limit_mb=2048 -max_len=1024 -len_control=0 \
            -artifact_prefix="$found/" "$@"
    }
    log=$built/$cell/$fuzzer.log
    # What was found once, then what is known to reach much, then what comes up.
    for regression in checks/fuzz/regressions/"$fuzzer"/*; do
        [ ! -e "$regression" ] || fuzz "$regression" >"$log" 2>&1 || { tail -n 40 "$log"; echo "fuzz: $fuzzer fails at $regression"; exit 1; }
    done
    if fuzz -max_total_time="$seconds" -print_final_stats=1 "$corpus" "checks/fuzz/corpus/$fuzzer" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        reached=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$log" | tail -n 1)
        echo "fuzz: $fuzzer on $cell: $runs inputs, $reached, nothing found"
        sed -n 's/^calls: /fuzz: calls: /p' "$log" | tail -n 1
    else
        status=1
        tail -n 60 "$log"
        echo "fuzz: $fuzzer on $cell has found something; all of it in $log"
        echo "fuzz: again: ${LD_LIBRARY_PATH:+LD_LIBRARY_PATH=$LD_LIBRARY_PATH }${preload:+LD_PRELOAD=$preload }$built/$cell/$fuzzer $(sed -n 's/.*Test unit written to //p' "$log")"
    fi
    if [ -n "${GROW:-}" ]; then
        # By edges alone, not by how often each is passed: that would be ten times as many.
        fuzz -set_cover_merge=1 -use_counters=0 "checks/fuzz/corpus/$fuzzer" "$corpus" >>"$log" 2>&1
    fi
done
exit $status
