#!/bin/sh
# Builds sslsweep, runs the same unchanged programs on libssl alone and with the library preloaded, and prints a summary;
# with DETAILS=1 each step. Exits non-zero if anything is not as it must be.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$(dirname "$here")")
build=$top/build/demo
lib=$top/build/lib/libsslsweep.so
mkdir -p "$build"
rm -f "$build"/*.txt "$build"/*.err "$build/failed"

echo "This takes about 30 seconds; the first time, with the build, about 3 minutes."

printf 'building the library and the command '
{ ${MAKE:-make} --no-print-directory -C "$top" lib 2>&1 || touch "$build/failed"; } |
    perl -e '$| = 1; $SIG{ALRM} = sub { print "."; alarm 10 }; alarm 10;
        open my $log, ">", shift; print $log $_ while <STDIN>' "$build/build.log"
# shellcheck disable=SC2086 # CFLAGS is a list of words
${CC:-cc} -std=c11 -D_DEFAULT_SOURCE -O2 -Wall -Wextra -Werror -Wno-deprecated-declarations ${CFLAGS:-} -pthread \
    -o "$build/server" "$here/server.c" "$here/peer.c" -lssl -lcrypto -ldl >>"$build/build.log" 2>&1 || touch "$build/failed"
if [ -e "$build/failed" ]; then
    echo '. failed'
    cat "$build/build.log"
    echo "FAIL: the build ended with an error, see above; it is kept in build/demo/build.log"
    exit 1
fi
echo '. done'

# report NAME COMMAND...: what it says goes into build/demo; how it ended is the last line.
report() {
    name=$1
    shift
    status=0
    "$@" >"$build/$name.txt" 2>"$build/$name.err" || status=$?
    echo "status=$status" >>"$build/$name.txt"
}

printf 'running a TLS server on libssl alone, '
report stock "$build/server"
printf 'then with sslsweep ... '
report sslsweep env LD_PRELOAD="$lib" SSLSWEEP_VERBOSE=1 "$build/server"
echo 'done'
printf 'running nginx on libssl alone, '
report nginx-stock sh "$here/nginx.sh"
printf 'then with sslsweep ... '
report nginx-sslsweep sh "$here/nginx.sh" "$lib"
printf 'done\n\n'
exec perl "$here/summary.pl" "$build" ${DETAILS:+details}
