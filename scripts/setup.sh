#!/bin/sh
# setup.sh WHAT: makes sure that what `make WHAT` uses is there (build, test, demo, bench, lint, deb or rpm;
# packages is what `make test-packages` uses).
# Debian and Ubuntu: missing packages are installed when run as root, else named. Elsewhere: named.
set -eu

what=${1:-build}
cargo_least=1.85

packages= # Debian packages to install
tools=    # the same, for people of other systems

have() { command -v "$1" >/dev/null 2>&1; }
has_header() { printf '#include <%s>\n' "$1" | cc -E - >/dev/null 2>&1; }
missing() { # package, name in plain words
    packages="$packages $1"
    tools="$tools${tools:+, }$2"
}
complain() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# A program that is there already is used, wherever it came from.
compiler() {
    have cc || missing gcc "a C compiler called cc"
    has_header stdio.h || missing libc6-dev "the C library's headers"
}
programs() { # what is compiled against libssl; the library itself is not
    compiler
    has_header openssl/ssl.h || missing libssl-dev "OpenSSL's headers"
}
to_deb() { have dh || missing debhelper debhelper; }
to_rpm() { have rpmbuild || missing rpm rpmbuild; }

case $what in
build) compiler ;;
test)
    programs
    have openssl || missing openssl openssl
    have prove || missing perl "perl with prove"
    have valgrind || missing valgrind valgrind
    have c++ || missing g++ "a C++ compiler called c++"
    have pkg-config || missing pkg-config pkg-config
    python3 -c 'import ssl' 2>/dev/null || missing python3 "python3, whose ssl module is one of the programs tested"
    ;;
demo)
    programs
    have openssl || missing openssl openssl
    ;;
bench) # the libssl that are measured are built by scripts/libssl.sh and bench/peer.sh
    programs
    have python3 || missing python3 "python3"
    have readelf || missing binutils readelf
    have flock || missing util-linux flock
    have perl || missing perl perl
    have cmake || missing cmake cmake
    have c++ || missing g++ "a C++ compiler called c++"
    ;;
lint) have shellcheck || missing shellcheck shellcheck ;;
deb)
    compiler
    to_deb
    ;;
rpm)
    compiler
    to_rpm
    ;;
packages)
    programs
    to_deb
    to_rpm
    have prove || missing perl "perl with prove"
    have openssl || missing openssl openssl
    have pkg-config || missing pkg-config pkg-config
    have lintian || missing lintian lintian
    have man || missing man-db man
    have mandoc || missing mandoc mandoc
    have systemd-analyze || missing systemd systemd-analyze
    ;;
*) complain "usage: setup.sh build|test|demo|bench|lint|deb|rpm|packages" ;;
esac
have make || missing make make

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of words
    apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1 && return
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -qq -y --no-install-recommends $packages >/dev/null
}

if [ -n "$packages" ]; then
    have apt-get || complain "please install: $tools"
    [ "$(id -u)" = 0 ] ||
        complain "missing; please run: sudo apt-get install --no-install-recommends$packages"
    echo "setup: installing$packages"
    install_packages || complain "could not install$packages"
fi

# at_least LEAST VERSION
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

debian_cargo() { # the version that apt would install, if any
    have apt-cache && LC_ALL=C apt-cache policy cargo 2>/dev/null | sed -n 's/^ *Candidate: //p'
}

# The Rust toolchain is its owner's choice (rustup or packages), so it is never installed from here.
rust=$( (cargo --version | cut -d ' ' -f 2) 2>/dev/null || true)
if [ -z "$rust" ] || ! at_least "$cargo_least" "$rust"; then
    found="cargo $cargo_least or newer is needed${rust:+, found $rust}"
    candidate=$(debian_cargo || true)
    case $candidate in
    [1-9]*) # Debian called Rust 1.66 "cargo 0.66"; from 1.70 on both agree
        at_least "$cargo_least" "$candidate" &&
            complain "$found; please run: apt-get install cargo rustc"
        ;;
    esac
    complain "$found; please install it with rustup, see https://rustup.rs"
fi

# nginx is only unpacked into the build folder, because installing it would start a web server on
# port 80 of whoever just wants to look at a demo. Without nginx the demo leaves its second half out.
unpack_nginx() {
    into=$(cd "$(dirname "$0")/.." && pwd)/build/demo/nginx
    [ -x "$into/usr/sbin/nginx" ] && return
    rm -rf "$into"
    mkdir -p "$into"
    for package in nginx nginx-core; do # nginx-core: Ubuntu up to 22.04
        (
            cd "$into"
            apt-get download -qq "$package" || { apt-get update -qq && apt-get download -qq "$package"; }
            dpkg-deb -x "$package"_*.deb .
        ) >/dev/null 2>&1 || continue
        [ -x "$into/usr/sbin/nginx" ] || continue
        "$into/usr/sbin/nginx" -v 2>/dev/null && return
    done
    rm -rf "$into"
    return 1
}

if [ "$what" = demo ] && ! have nginx && ! [ -x /usr/sbin/nginx ]; then
    have apt-get && unpack_nginx || echo "setup: no nginx here; the demo will go without it"
fi
