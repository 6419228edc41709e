#!/bin/sh
# arm64-inside.sh ... PARTS NAMES WAYS: the part of arm64.sh that runs in namespaces of its own.
# shellcheck disable=SC2034,SC2154 # shared with tree-inside.sh
set -eu

# shellcheck source=tools/tree-inside.sh
. "$(dirname "$0")/../../tools/tree-inside.sh"

parts=$1 names=$2 ways=$3
build() { # NAME TARGET...
    name=$1
    shift
    stage root "$name" make -C /srv/sslsweep ARCH=arm64 "$@"
}

# The kernel starts programs for arm64 by this one, whoever starts them: a test that runs itself again, say. It is asked to in this user
# namespace alone (Linux 6.7 and later), so nobody else's programs are concerned.
emulate() {
    mount -t binfmt_misc binfmt_misc "$tree/proc/sys/fs/binfmt_misc" &&
        printf '%s' ':arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$tree/usr/bin/qemu-aarch64:POCF" \
            >"$tree/proc/sys/fs/binfmt_misc/register"
}

printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
chmod 755 "$tree/usr/sbin/policy-rc.d"
chroot "$tree" dpkg --add-architecture arm64
lean
get qemu-user
emulate || [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || {
    echo "arm64: programs for arm64 cannot be started here: that needs Linux 6.7 (binfmt_misc in a user namespace), or qemu-user-binfmt" >&2
    exit 1
}
get make gcc libc6-dev cargo rustc libstd-rust-dev:arm64 gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev:arm64 libssl-dev:arm64 \
    perl pkgconf python3:arm64 openssl:arm64 nginx:arm64 zlib1g-dev:arm64 libzstd-dev:arm64 debhelper
version=$(chroot "$tree" dpkg-query -W -f "\${Version}" libssl-dev:arm64)
echo "arm64: libssl $version, $(chroot "$tree" openssl version -p)"
build "make library" library
if part harness; then
    build "the C harness" test-harness TEST_NAMES="$names" TEST_WAYS="$ways" TEST_JOBS=4 TEST_EMULATED=1 TEST_SLOW=1 TEST_TIMEOUT=1800 TEST_OUT=/srv/results
    sed "s/^/Debian $release on arm64, emulated\t$version\t/" "$tree/srv/results/results.tsv" >"$logs/systems.tsv"
fi
if part threads; then
    build "the Rust tests" test-rust TEST_EMULATED=1 CRATES="sslsweep sslsweep-segment sslsweep-seal sslsweep-share"
fi
if part nginx; then
    build "nginx" test-programs PROGRAMS=nginx
    cp "$tree/srv/sslsweep/build/programs/results.json" "$logs"
fi
if part packages; then
    build "make deb" deb
    stage root "the packages" sh /srv/sslsweep/checks/reach/arm64-packages.sh
fi
