#!/bin/sh
# arm64-packages.sh: the packages that `make ARCH=arm64 deb` has built, in arm64.sh's tree: all are for arm64, are installed, serve a
# program, and are removed.
set -eu

cd "$(dirname "$0")/../../build/packages"
folder=usr/lib/aarch64-linux-gnu
is() { # WHAT COMMAND
    what=$1
    shift
    "$@" || { echo "FAILED: $what" >&2 && exit 1; }
    echo "ok: $what"
}
contains() { dpkg-deb -c "$1"_*_arm64.deb | grep " \./$2\$" >/dev/null; }
says() { # PATTERN COMMAND
    pattern=$1
    shift
    "$@" 2>&1 | tee said | grep -q "$pattern" || { cat said && return 1; }
}

for name in sslsweep sslsweep-share sslsweep-fleet sslsweep-dev; do
    is "$name is for arm64" says '^ Architecture: arm64$' dpkg-deb -I ${name}_*_arm64.deb
done
is "sslsweep needs arm64's C library" says '^ Depends:.*libc6 (' dpkg-deb -I sslsweep_*_arm64.deb
is "sslsweep has the library" contains sslsweep "$folder/libsslsweep\.so\.[0-9.]*"
is "sslsweep-share has the share library" contains sslsweep-share "$folder/libsslsweep-share\.so\.[0-9.]*"
is "sslsweep-fleet has the agent" contains sslsweep-fleet "usr/libexec/sslsweep/sslsweep-shared"
is "sslsweep-dev has the static library" contains sslsweep-dev "$folder/libsslsweep\.a"
is "they are installed" dpkg -i ./*_arm64.deb
is "a program is served" says 'libssl\.so\.3' env SSLSWEEP_VERBOSE=1 sslsweep run openssl ciphers
is "doctor knows the program" says 'openssl' sslsweep doctor /usr/bin/openssl
is "they are removed" dpkg --purge sslsweep-dev sslsweep-fleet sslsweep-share sslsweep
is "nothing is left" [ ! -e /usr/bin/sslsweep ]
