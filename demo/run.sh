#!/bin/sh
# run.sh LIB: the same unchanged programs on libssl alone and with sslsweep's library LIB preloaded.
# Exits non-zero if anything shown is not as it should be.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$here/../build/demo
if [ $# != 1 ] || ! [ -r "$1" ]; then
    echo "usage: demo/run.sh path/to/libsslsweep.so" >&2
    exit 2
fi
lib=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

mkdir -p "$build"
# shellcheck disable=SC2086 # CFLAGS is a list of words
${CC:-cc} -std=c11 -D_DEFAULT_SOURCE -O2 -Wall -Wextra -Werror -Wno-deprecated-declarations \
    ${CFLAGS:-} -pthread -o "$build/server" "$here/server.c" "$here/peer.c" -lssl -lcrypto -ldl

cat <<'END'
sslsweep demo, part 1: a TLS server, real handshakes on 127.0.0.1

The program (demo/server.c) knows libssl only. It runs twice: on libssl alone
("stock") and with sslsweep preloaded. Nothing sleeps: each flush is told which
time to assume. All counts must be equal, waits during a flush clearly shorter.

END
status=0
"$build/server" >"$build/stock.txt" || { echo "FAIL: the server on libssl alone: $?"; exit 1; }
LD_PRELOAD=$lib SSLSWEEP_VERBOSE=1 "$build/server" >"$build/sslsweep.txt" 2>"$build/sslsweep.err" || {
    status=$?
    cat "$build/sslsweep.err"
    echo "FAIL: the server with sslsweep: $status"
    exit 1
}
awk -f "$here/compare.awk" "$build/stock.txt" "$build/sslsweep.txt" || status=1

echo
echo "What the library said on stderr, asked by SSLSWEEP_VERBOSE=1:"
if grep -q '^sslsweep' "$build/sslsweep.err"; then
    sed 's/^/  /' "$build/sslsweep.err"
else
    echo "FAIL: nothing. Was it loaded?"
    status=1
fi

printf '\nsslsweep demo, part 2: unchanged nginx, ssl_session_cache builtin\n\n'
nginx=0
sh "$here/nginx.sh" "$lib" || nginx=$?
case $nginx in
0) ;;
77) echo "nginx is not here, so this half is left out (scripts/setup.sh demo gets it on Debian)." ;;
*) status=1 ;;
esac

echo
if [ $status = 0 ]; then
    cat <<'END'
Everything was as it should be. Try next:
  SSLSWEEP_VERBOSE=1 sslsweep PROGRAM ARGUMENTS   your own server with the library preloaded
  make test                                       what the library promises, tested
  make bench                                      what it costs, measured against libssl alone
END
else
    echo "Something was not as it should be: see FAIL above."
fi
exit $status
