#!/bin/sh
# asan.sh [VERSION...]: the C harness under AddressSanitizer and LeakSanitizer, the C programs under
# UndefinedBehaviorSanitizer too.
#
#   VERSION   system    the libssl that is installed; what it does to memory is seen where it calls the C library
#             a release  of tools/libssl.py, built instrumented as well: every access of libssl is checked
#
# By default: system 3.5. The library is built with LLVM's instrumentation, which gcc's runtime serves, so that
# library, programs and libssl share one. (rustc's own runtime is linked into executables only, and ours is the
# guest of a C program.)
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=$top/build/asan
host=$(rustc -vV | sed -n 's/^host: //p')
[ $# -gt 0 ] || set -- system 3.5

# For the target alone, or the build scripts would be instrumented and linked with rustc's runtime.
RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address -Cforce-frame-pointers=yes' \
    CARGO_BUILD_TARGET=$host CARGO_TARGET_DIR=$build/target \
    make --no-print-directory -C "$top" library LIB="$build/lib" TARGET="$build/target/$host/release" CC='cc -fsanitize=address'

# The preloaded library comes before the runtime, which complains of that; only malloc and its like matter, which
# we don't define. The stack is left where it is, since the library looks for calls of its own there. Crashes are left
# to the signals' own way, since a test holds that nobody handles them.
options=verify_asan_link_order=0:detect_stack_use_after_return=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0:exitcode=99

# All but flush_thread_end: the sanitizer takes what pthread_exit has unwound for still in use, as it says itself. And but
# sharing_absent, sharing_fleet and sharing_ids: LeakSanitizer itself ends by signal 11 in processes that have opened the share
# library with a file.
# (memcheck looks at all of them.)
names='[!fs]* s[!h]* sharing_[!afi]* sharing_fork flush_[!t]* flush_threads'

status=0
for version; do
    set --
    linked=
    if [ "$version" != system ]; then
        linked=symbolic
        # Built as it is, what it leaks itself included: its own checks leave a context behind.
        prefix=$(ASAN_OPTIONS=detect_leaks=0 python3 -B "$top/tools/libssl.py" "$version" $linked address)
        release=$(basename "$(dirname "$prefix")")
        version=${release%%-*}
        set -- OPENSSL_CFLAGS="-I$prefix/include" OPENSSL_LIBS="-L$prefix/lib -lssl -lcrypto" \
            LD_LIBRARY_PATH="$prefix/lib" TEST_LIBSSL="OpenSSL $version $linked"
    fi
    reports=$build/$version-reports
    rm -rf "$reports"
    mkdir -p "$reports"
    for target in mistakes check; do
        # As make's variables they reach its recipes through the environment too.
        make --no-print-directory -s -C "$top/tests-c" -j 2 $target BUILD="$build/$version" LIBDIR="$build/lib" \
            CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined' \
            TEST_NAMES="$names" TEST_WAYS='preload static' TEST_SLOW=1 TEST_TIMEOUT=300 \
            ASAN_OPTIONS="$options:log_path=$reports/report" UBSAN_OPTIONS=print_stacktrace=1 "$@" || status=1
    done
    # Of a child, for one, whose exit status its test does not look at.
    for report in "$reports"/*; do
        [ ! -e "$report" ] || { status=1 && head -n 100 "$report"; }
    done
    echo "asan: $version${linked:+ $linked, instrumented}: reports: $(find "$reports" -type f | wc -l)"
done
exit $status
