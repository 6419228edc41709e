#!/bin/sh
# setup.sh WHAT: sees to what `make WHAT` uses; the words are below, one for each case (packages is for `make test-packages`,
# programs for `make test-programs`, of which PROGRAMS can select some).
#
# First all that is missing is named, then it is installed, if run as root on Debian or Ubuntu. Nothing is installed where the
# build could not work anyway: without Rust, or without the crates. (A shell script, since nothing else is sure to be here.)
set -eu

what=${1:-build}
rust_least=1.85
root=$(cd "$(dirname "$0")/.." && pwd)

packages= # Debian packages to install
tools=    # the same, for people of other systems

have() { command -v "$1" >/dev/null 2>&1; }
has_header() { printf '#include <%s>\n' "$1" | ${CC:-cc} -E - >/dev/null 2>&1; }
missing() { # package, name in plain words
    case " $packages " in *" $1 "*) ;; *) packages="$packages${packages:+ }$1" ;; esac
    tools="$tools${tools:+, }$2"
}
complain() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# One thing that is needed. A program that is there already is used, wherever it came from.
need() {
    case $1 in
    c)
        have cc || missing gcc "a C compiler called cc"
        has_header stdio.h || missing libc6-dev "the C library's headers"
        ;;
    openssl.h) has_header openssl/ssl.h || missing libssl-dev "OpenSSL's headers" ;;
    static) # a libcrypto.a that was built with compression asks for these, as Debian's from 13 on
        case $(pkg-config --static --libs libcrypto 2>/dev/null || echo " -lz -lzstd") in
        *" -lz"*)
            has_header zlib.h || missing zlib1g-dev "zlib's headers"
            has_header zstd.h || missing libzstd-dev "zstd's headers"
            ;;
        esac
        ;;
    c++) have c++ || missing g++ "a C++ compiler called c++" ;;
    asan) [ -e "$(cc -print-file-name=libasan.so 2>/dev/null)" ] || missing gcc "gcc with its AddressSanitizer" ;;
    abidiff) have abidiff || missing abigail-tools "abidiff and abidw of libabigail" ;;
    readelf) have readelf || missing binutils "readelf, nm and objcopy" ;;
    prove) have prove || missing perl "perl with prove" ;;
    setcap) have setcap || [ -x /usr/sbin/setcap ] || missing libcap2-bin setcap ;;
    ip) have ip || missing iproute2 ip ;;
    nft) have nft || [ -x /usr/sbin/nft ] || missing nftables nft ;;
    setpriv | unshare) have "$1" || missing util-linux "$1" ;;
    python3) python3 -c 'import ssl' 2>/dev/null || missing python3 "python3 with its ssl module" ;;
    dh) have dh || missing debhelper debhelper ;;
    rpmbuild) have rpmbuild || missing rpm rpmbuild ;;
    man) have man || missing man-db man ;;
    systemd-analyze) have systemd-analyze || missing systemd systemd-analyze ;;
    *) have "$1" || missing "$1" "$1" ;;
    esac
}

# Released libssl are built by tools/libssl.py, which needs perl and readelf.
case $what in
build) needs="c" ;;
demo) needs="c python3 openssl.h openssl" ;;
test) needs="c prove openssl.h static openssl abidiff c++ pkg-config gdb bpftrace python3 tmux setpriv setcap readelf valgrind" ;;
command) needs="c prove openssl.h static pkg-config tmux setpriv setcap" ;;
matrix) needs="c prove openssl.h static pkg-config c++ readelf python3" ;;
asan) needs="c prove openssl.h static pkg-config asan readelf python3" ;;
tsan) needs="c prove openssl.h readelf python3" ;;
models) needs="c prove" ;;
fuzz) needs="c perl openssl.h c++ readelf python3" ;;
abi) needs="c prove openssl.h abidiff readelf python3" ;;
bench) needs="c perl openssl.h c++ cmake readelf python3" ;;
profile) needs="c perl openssl.h valgrind python3" ;;
load) needs="c perl openssl.h readelf python3" ;;
programs) needs="c openssl.h openssl python3" ;;
fleet) needs="c openssl.h openssl python3 systemd-analyze$([ "$(id -u)" != 0 ] || echo " ip nft")" ;; # hosts with networks of their own need root
fresh) needs="git perl debootstrap unshare" ;;
lint) needs="c prove python3 shellcheck" ;;
deb) needs="c dh" ;;
rpm) needs="c rpmbuild" ;;
packages) needs="c prove openssl.h openssl pkg-config dh rpmbuild lintian man mandoc systemd-analyze" ;;
*) complain "usage: setup.sh WHAT, one of: $(sed -n 's/^\([a-z]*\)) needs=.*/\1/p' "$0" | tr '\n' ' ')" ;;
esac
need make
# shellcheck disable=SC2086 # a list of words
for thing in $needs; do need $thing; done

# at_least LEAST VERSION
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# How to get the Rust that is needed. The toolchain is its owner's choice (rustup or packages), so it is never installed from here.
rust_advice() {
    candidate=$(LC_ALL=C apt-cache policy cargo 2>/dev/null | sed -n 's/^ *Candidate: //p')
    case $candidate in
    [1-9]*) # Debian called Rust 1.66 "cargo 0.66"; from 1.70 on both agree
        at_least "$rust_least" "$candidate" && echo "apt-get install cargo" && return
        ;;
    esac
    echo "use rustup, https://rustup.rs"
}

# What has to be mended by hand, a line each: then nothing is installed.
faults=
fault() {
    faults="$faults$1
"
}

cargo=${CARGO:-cargo}
rust=$( ($cargo --version | cut -d ' ' -f 2) 2>/dev/null || true)
if [ -z "$rust" ] || ! at_least "$rust_least" "$rust"; then
    fault "Rust: cargo $rust_least or newer is needed, ${rust:-none} is here: $(rust_advice)"
elif ! (cd "$root" && $cargo fetch --locked --offline --quiet) 2>/dev/null; then
    echo "setup: fetching the crates that Cargo.lock names"
    reason=$( (cd "$root" && $cargo fetch --locked --quiet) 2>&1) ||
        fault "crates: cargo cannot fetch them ($(printf '%s\n' "$reason" | grep -v -e '^As a reminder' -e '^$' | tail -n 1 | sed 's/^ *//')): build from an archive that has them, made by 'make dist' on a machine with a network"
fi
if [ -n "$packages" ]; then
    if ! have apt-get; then
        fault "programs: please install $tools"
    elif [ "$(id -u)" != 0 ]; then
        fault "packages: sudo apt-get install --no-install-recommends $packages"
    elif [ -n "$faults" ]; then
        fault "packages, which would then be installed: $packages"
    fi
fi
if [ -n "$faults" ]; then
    printf 'setup: nothing was installed; this is missing:\n%s' "$faults" | sed '2,$s/^/setup:   /' >&2
    exit 1
fi

# Takes turns with other runs: apt does not wait for an update by another apt. (CI sets up for two commands at once.)
alone() {
    exec 9<"$root"
    ! have flock || flock 9
}

# Runs apt-get, which waits for the lock of dpkg and asks a mirror again that has failed.
apt() { LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get "$@" -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5; }

install_packages() {
    alone
    # shellcheck disable=SC2086 # a list of words
    apt install --no-install-recommends $packages >/dev/null 2>&1 && return
    apt update
    # shellcheck disable=SC2086
    apt install --no-install-recommends $packages >/dev/null
}

if [ -n "$packages" ]; then
    echo "setup: Rust $rust is here; installing $packages"
    install_packages || complain "apt-get could not install $packages"
fi

# Servers are only unpacked, because installing one would start it on this machine. That needs no root.
# A server that the system has is used instead.

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
        if download "$fresh" "$2" || { [ "$(id -u)" = 0 ] && alone && apt update && download "$fresh" "$2"; }; then
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
    apt install --download-only --no-install-recommends -o Dir::Cache::archives="$1/archives" \
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
demo)
    unpack nginx nginx || echo "setup: no nginx here; the demo will go without it"
    unpack redis-server redis-server || echo "setup: no redis-server here; the demo will go without a second machine"
    ;;
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
