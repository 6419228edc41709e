#!/bin/sh
# distributions-inside.sh ... NAMES WAYS BACKPORTS: the part of distributions.sh that runs in namespaces of its own. BACKPORTS is their
# line of a sources.list; empty if there are none.
# shellcheck disable=SC2154 # tree-inside.sh sets them
set -eu

# shellcheck source=tools/tree-inside.sh
. "$(dirname "$0")/../../tools/tree-inside.sh"

names=$1 ways=$2 backports=$3

# harness SYSTEM: on the libssl that is installed.
harness() {
    version=$(chroot "$tree" dpkg-query -W -f "\${Version}" libssl-dev)
    stage root "the C harness, libssl $version" make -C /srv/sslsweep/tests-c LIBDIR=../build/lib BUILD="../build/tests-$version" check \
        TEST_NAMES="$names" TEST_WAYS="$ways" TEST_JOBS=4 TEST_TIMEOUT=1800 TEST_OUT=/srv/results
    sed "s/^/$1\t$version\t/" "$tree/srv/results/results.tsv" >>"$logs/systems.tsv"
}

lean
[ -z "$backports" ] || echo "$backports" >"$tree/etc/apt/sources.list.d/backports.list"
# A mirror that stands still has an old sid, which the version of its libssl tells.
echo 'Acquire::Check-Valid-Until "no";' >"$tree/etc/apt/apt.conf.d/old"
# 32-bit programs are tried on Debian 13; those of the release itself will do.
if [ "$release" = 13 ]; then
    chroot "$tree" dpkg --add-architecture i386
    sed -i 's/^deb /deb [arch=amd64] /' "$tree"/etc/apt/sources.list "$tree"/etc/apt/sources.list.d/*.list
    sed -n '1s/amd64/i386/p' "$tree/etc/apt/sources.list" >"$tree/etc/apt/sources.list.d/i386.list"
fi
get make gcc g++ libc6-dev perl pkgconf python3 libssl-dev zlib1g-dev libzstd-dev
if [ ! -e "$logs/lib" ]; then
    stage root "make library" make -C /srv/sslsweep library
    cp -R "$tree/srv/sslsweep/build/lib" "$logs/lib"
fi
mkdir -p "$tree/srv/sslsweep/build"
cp -R "$logs/lib" "$tree/srv/sslsweep/build/"
harness "Debian $release"
if [ "$release" = 13 ]; then
    # Debian's Rust, which has a standard library for i386.
    get cargo rustc
    # Only unpacked, as apt would want the same versions of both architectures.
    stage root "apt-get download openssl:i386 libstd-rust-dev:i386" sh -c \
        'cd /srv && apt-get download -qq libc6:i386 zlib1g:i386 libzstd1:i386 libssl3t64:i386 openssl:i386 libstd-rust-dev:i386'
    for package in "$tree"/srv/*_i386.deb; do chroot "$tree" dpkg -x "/srv/${package##*/}" /; done
    served=../build/tests-$version/stock/flush_basic
    inside root make -s -C /srv/sslsweep/tests-c LIBDIR=../build/lib BUILD="../build/tests-$version" "$served"
    stage root "32-bit programs" sh /srv/sslsweep/checks/reach/i386.sh "/srv/sslsweep/tests-c/$served"
fi
if chroot "$tree" apt-cache madison libssl-dev | grep -q backports; then
    stage root "backports" apt-get install -qq -y -t "$(echo "$backports" | cut -d ' ' -f 3)" libssl-dev
    harness "Debian $release, backports"
elif [ -n "$backports" ]; then
    echo "distributions: Debian $release: its backports have no libssl of their own"
fi
