#!/bin/sh
# setup.sh WHAT: makes sure that what `make WHAT` uses is there; the words stand below, one for each case
# (packages is what `make test-packages` uses, and programs what `make test-programs` does, of which PROGRAMS
# can select some).
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
build)
    compiler
    have perl || missing perl perl
    ;;
abi)
    programs
    have prove || missing perl "perl with prove"
    have abidiff || missing abigail-tools "abidiff and abidw of libabigail"
    ;;
test)
    programs
    have abidiff || missing abigail-tools "abidiff and abidw of libabigail"
    have openssl || missing openssl openssl
    have prove || missing perl "perl with prove"
    have valgrind || missing valgrind valgrind
    have c++ || missing g++ "a C++ compiler called c++"
    have pkg-config || missing pkg-config pkg-config
    have gdb || missing gdb gdb
    have bpftrace || missing bpftrace bpftrace
    python3 -c 'import ssl' 2>/dev/null || missing python3 "python3, whose ssl module is one of the programs tested"
    ;;
command)
    programs
    have prove || missing perl "perl with prove"
    have tmux || missing tmux tmux
    have setpriv || missing util-linux setpriv
    ;;
matrix) # the rest is as for test; libssl itself is built by scripts/libssl.sh
    programs
    have prove || missing perl "perl with prove"
    have c++ || missing g++ "a C++ compiler called c++"
    have readelf || missing binutils readelf
    have flock || missing util-linux flock
    python3 -c 'import ssl' 2>/dev/null || missing python3 "python3, whose ssl module is one of the programs tested"
    ;;
asan) # the libssl that is instrumented is built by scripts/libssl.sh
    programs
    have prove || missing perl "perl with prove"
    have readelf || missing binutils "readelf and nm"
    have flock || missing util-linux flock
    [ -e "$(cc -print-file-name=libasan.so)" ] || missing gcc "gcc with its AddressSanitizer"
    python3 -c 'import ssl' 2>/dev/null || missing python3 "python3, whose ssl module is one of the programs tested"
    ;;
models)
    compiler # one of the checkers has a few lines of C
    have prove || missing perl "perl with prove"
    ;;
tsan) # libssl is built by scripts/libssl.sh; the C compiler brings its part of the sanitizer
    programs
    have prove || missing perl "perl with prove"
    have readelf || missing binutils readelf
    have flock || missing util-linux flock
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
profile)
    programs
    have python3 || missing python3 "python3"
    have valgrind || missing valgrind valgrind
    ;;
load) # released libssl are built by scripts/libssl.sh
    programs
    have python3 || missing python3 python3
    have readelf || missing binutils readelf
    have flock || missing util-linux flock
    have perl || missing perl perl
    ;;
programs)
    programs
    have openssl || missing openssl openssl
    python3 -c 'import ssl' 2>/dev/null || missing python3 "python3 with its ssl module"
    ;;
fuzz)
    programs
    have c++ || missing g++ "a C++ compiler called c++"
    have flock || missing util-linux flock
    have perl || missing perl perl
    have readelf || missing binutils readelf
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
*) complain "usage: setup.sh WHAT, one of: $(sed -n 's/^\([a-z]*\)) .*/\1/p; s/^\([a-z]*\))$/\1/p' "$0" | tr '\n' ' ')" ;;
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

# Servers are only unpacked, because installing one would start it on this machine. That needs no root.
# What is on the system already is used instead.
root=$(cd "$(dirname "$0")/.." && pwd)

# unpack PROGRAM PACKAGE: into a cache outside of the checkout, with the libraries that the system lacks.
# build/programs/unpacked/PROGRAM is then a link to its tree.
unpack() {
    have "$1" || [ -x "/usr/sbin/$1" ] && return
    have apt-get || return
    # shellcheck source=/dev/null
    system=$(. /etc/os-release && echo "$ID-${VERSION_ID:-}")-$(uname -m)
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/sslsweep/programs/$system
    if ! runs "$cache/$2" "$1"; then
        echo "setup: unpacking $2"
        rm -rf "${cache:?}/$2"
        mkdir -p "$cache"
        fresh=$(mktemp -d "$cache/.XXXXXX")
        if download "$fresh" "$2" || { [ "$(id -u)" = 0 ] && apt-get update -qq && download "$fresh" "$2"; }; then
            for archive in "$fresh"/archives/*.deb; do dpkg-deb -x "$archive" "$fresh/tree"; done
            mv -T "$fresh/tree" "$cache/$2"
        fi
        rm -rf "$fresh"
        runs "$cache/$2" "$1" || return
    fi
    mkdir -p "$root/build/programs/unpacked"
    ln -sfn "$cache/$2" "$root/build/programs/unpacked/$1"
}

# What apt would install, into a folder of our own; so it asks for no lock and no other user.
download() { # folder, package
    mkdir -p "$1/archives/partial"
    LC_ALL=C apt-get install -qq -y --download-only --no-install-recommends -o Dir::Cache::archives="$1/archives" \
        -o Debug::NoLocking=1 -o APT::Sandbox::User=root "$2" >"$1/log" 2>&1 && return
    tail -n 5 "$1/log" >&2
    return 1
}

# runs TREE PROGRAM: it is there with all its libraries.
runs() {
    for file in "$1"/usr/*bin/"$2"; do [ -x "$file" ] || return 1; done
    libraries=$(echo "$1"/usr/lib/*-linux-gnu* "$1"/lib/*-linux-gnu* | tr ' ' :)
    ! LD_LIBRARY_PATH=$libraries ldd "$file" 2>&1 | grep -q 'not found'
}

# make test-programs: the name there, the program, Debian's package of it.
servers='nginx nginx nginx
h2o h2o h2o
stunnel stunnel4 stunnel4
vsftpd vsftpd vsftpd
proftpd proftpd proftpd-mod-crypto
redis redis-server redis-server
mariadb mariadbd mariadb-server-core
haproxy haproxy haproxy
httpd apache2 apache2-bin'

case $what in
demo) unpack nginx nginx || echo "setup: no nginx here; the demo will go without it" ;;
programs)
    lacking=
    while read -r name program package; do
        case " ${PROGRAMS:-$name} " in *" $name "*) ;; *) continue ;; esac
        unpack "$program" "$package" || lacking="$lacking $name"
    done <<END
$servers
END
    [ -z "$lacking" ] ||
        complain "cannot get$lacking; please install, or run the others alone: make test-programs PROGRAMS='...'"
    ;;
esac
