#!/bin/sh
# i386.sh PROGRAM: 32-bit programs beside the library, in a tree of Debian's on x86-64 where `openssl` is the one of i386. The loader leaves the
# library out, and says so; the program runs as without it. PROGRAM is a 64-bit one of the C harness. And the library is refused by its
# build for i386, with the reason and nothing else. A line of TAP for each check.
# shellcheck disable=SC2016,SC2317 # $LIB is the loader's; `check` calls the functions
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
library=$top/build/lib/libsslsweep.so
served=$1
work=$(mktemp -d)
port=14433
number=0
failed=0
trap 'rm -rf "$work"; rm -f /etc/ld.so.preload' EXIT

check() { # NAME COMMAND
    name=$1
    shift
    number=$((number + 1))
    if "$@"; then echo "ok $number - $name"; else
        echo "not ok $number - $name"
        failed=1
        sed 's/^/# /' "$work/errors"
    fi
}

# visits: a 32-bit server of TLS, which resumes the sessions of a 32-bit client; what both saw of it.
visits() {
    openssl s_server -accept $port -key "$work/key" -cert "$work/certificate" -no_ticket -tls1_2 -www >"$work/server" 2>>"$work/errors" &
    server=$!
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        openssl s_client -connect localhost:$port -tls1_2 -reconnect </dev/null >"$work/client" 2>>"$work/errors" && break
        sleep 0.3
    done
    kill $server
    wait $server || :
    grep -E '^(New|Reused), ' "$work/client"
}
# runs [VARIABLE=VALUE]: one, by its output; what the loader says is in errors.
runs() {
    : >"$work/errors"
    (export "${1:-NOTHING=}" && visits) >"$work/seen"
}
is_same() { cmp -s "$work/seen" "$work/alone"; }
is_said() { grep -q "$1" "$work/errors"; }
is_quiet() { ! grep -q 'ld\.so' "$work/errors"; }
serves() { # VARIABLE=VALUE
    env "$1" "$served" 2>"$work/errors" | grep -q '^# under: sslsweep$'
}

: >"$work/errors"
file=$(head -c 5 "$(command -v openssl)" | od -An -tu1 | tr -d ' \n')
check "openssl is a 32-bit program here" [ "$file" = 1276976701 ]
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key" -out "$work/certificate" -subj /CN=localhost 2>/dev/null
runs
cp "$work/seen" "$work/alone"
check "alone, a 32-bit server resumes its sessions" grep -q '^Reused' "$work/alone"

runs LD_PRELOAD="$library"
check "LD_PRELOAD: it does the same" is_same
check "LD_PRELOAD: the loader says that it leaves the library out" is_said 'wrong ELF class: ELFCLASS64.*ignored'

echo "$library" >/etc/ld.so.preload
runs
rm /etc/ld.so.preload
check "/etc/ld.so.preload: it does the same" is_same
check "/etc/ld.so.preload: the loader says the same" is_said 'wrong ELF class: ELFCLASS64.*ignored'

# $LIB is the loader's: lib/x86_64-linux-gnu for a 64-bit program of Debian's, lib/i386-linux-gnu for a 32-bit one.
mkdir -p "$work/lib/x86_64-linux-gnu" "$work/lib/i386-linux-gnu"
cp -L "$library" "$work/lib/x86_64-linux-gnu/libsslsweep.so"
either="LD_PRELOAD=$work/"'$LIB/libsslsweep.so'
runs "$either"
check "\$LIB, without a 32-bit library: it does the same" is_same
check "\$LIB: the loader says that there is none" is_said 'cannot open shared object file.*ignored'
echo | gcc -m32 -shared -nostdlib -x c - -o "$work/lib/i386-linux-gnu/libsslsweep.so"
runs "$either"
check "\$LIB, with an empty 32-bit library: it does the same" is_same
check "\$LIB: the loader says nothing" is_quiet
check "\$LIB: a 64-bit program is served" serves "$either"

# refuses: by the tree's own Rust, which comes with Debian's standard library for i386.
refuses() {
    ! (cd "$top" && PATH=/usr/bin:/bin cargo check --quiet --locked --lib --target i686-unknown-linux-gnu --target-dir "$work/target") 2>"$work/errors" &&
        is_said '^error: sslsweep@.*: sslsweep is for 64-bit systems' && ! is_said '^error\[E'
}
check "a build for i386 is refused, with the reason" refuses
echo "1..$number"
exit $failed
