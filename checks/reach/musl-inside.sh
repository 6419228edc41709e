#!/bin/sh
# musl-inside.sh ... KEPT PARTS NAMES WAYS: the part of musl.sh that runs in namespaces of its own.
# shellcheck disable=SC2034,SC2154 # shared with tree-inside.sh
set -eu

# shellcheck source=tools/tree-inside.sh
. "$(dirname "$0")/../../tools/tree-inside.sh"

kept=$1 parts=$2 names=$3 ways=$4
here=$(cd "$(dirname "$0")" && pwd)
machine=$(uname -m)
upper=$(echo "$machine" | tr '[:lower:]' '[:upper:]')
checkout=/srv/sslsweep

# musl_stage NAME COMMAND: with cargo's settings for a standard library that is built from its sources. (Unoptimised C is compiled
# quickly, and all of that is nginx and tests. The tree's own gcc links what runs while cargo builds.)
musl_stage() {
    name=$1
    shift
    stage root "$name" env RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std RUSTFLAGS="-C target-feature=-crt-static" \
        CARGO_BUILD_TARGET="$machine-unknown-linux-musl" "CARGO_TARGET_${upper}_UNKNOWN_LINUX_MUSL_LINKER=cc" \
        "CARGO_TARGET_${upper}_UNKNOWN_LINUX_GNU_LINKER=$machine-linux-gnu-gcc" CARGO_TARGET_DIR=/srv/kept/target \
        TREE_CFLAGS=-O0 "$@"
}

mkdir -p "$tree/srv/kept" "$kept/registry"
mount --bind "$kept" "$tree/srv/kept"
ln -s /srv/kept/registry "$tree/srv/cargo/registry"
lean
sed 's/^deb /deb-src /' "$tree/etc/apt/sources.list" >"$tree/etc/apt/sources.list.d/sources.list"
get make gcc libc6-dev musl-tools libunwind-19-dev cargo rust-src perl pkgconf python3 python3-pip patchelf libssl-dev openssl
stage root toolchain sh $checkout/checks/reach/musl/toolchain.sh
libssl=/srv/libssl
stage root "Alpine's libssl" env PIP_CERT=/root/certificates sh $checkout/checks/reach/musl/libssl.sh $libssl

musl_stage "make library" make -C $checkout library
if part command; then musl_stage "make lib" make -C $checkout lib; fi

if part harness; then
    # What is asked for by its name is not left out.
    without=
    [ -n "$names" ] || {
        sed 's/^/musl: left out: /; s/\t/: /' "$here/musl/without.tsv"
        without=$(cut -f 1 "$here/musl/without.tsv" | tr '\n' ' ')
    }
    musl_stage "the C harness" env LDFLAGS=-lgcc_s make -C $checkout/tests-c check TEST_NAMES="${names:-*}" TEST_WITHOUT="$without" TEST_WAYS="$ways" \
        TEST_TIMEOUT=1800 TEST_OUT=/srv/results OPENSSL_CFLAGS="-I$libssl/include" OPENSSL_LIBS="-L$libssl/dev -L$libssl/lib -lssl -lcrypto" \
        LD_LIBRARY_PATH="$libssl/lib"
    version=$(sed -n 's/^# libssl: OpenSSL \([^ ]*\).*/\1/p' "$tree"/srv/results/*.out | head -n 1)
    musl=$(chroot "$tree" dpkg-query -W -f "\${Version}" musl)
    sed "s/^/musl, in Debian $release\tAlpine's $version, with musl $musl\t/" "$tree/srv/results/results.tsv" >"$logs/systems.tsv"
    cp "$tree/srv/results/times.tsv" "$logs"
fi
if part nginx; then
    musl_stage "the build of nginx" sh $checkout/checks/reach/musl/nginx.sh "$libssl" /srv/kept/nginx
    ln -s /srv/kept/nginx/nginx "$tree/usr/local/sbin/nginx"
    musl_stage nginx env CPATH="$libssl/include" make -C $checkout test-programs PROGRAMS=nginx
    cp "$tree$checkout/build/programs/results.json" "$logs"
fi
