#!/bin/sh
# libssl.sh VERSION LINKAGE [SANITIZER]: builds a released libssl and prints where it is installed.
# libssl.sh list:                        prints the releases it knows.
#
#   VERSION   a release of the table below, or its beginning (3.5)
#   LINKAGE   symbolic   as upstream links it: libssl's calls to its own functions stay inside (-Bsymbolic)
#             plt        as Debian and Ubuntu do: they go through the PLT, where a preloaded library sees them
#   SANITIZER what the compiler's -fsanitize is to instrument it with (thread, address); what links with it, too
#
# What is printed holds include/ and lib/. The sources are those that the crate openssl-src carries, since
# cargo fetches and verifies them and has to be there anyway. The two linkages are two last links of the
# same objects. Kept in ${XDG_CACHE_HOME:-~/.cache}/sslsweep/libssl, a folder for each release, recipe and
# compiler, so that checkouts of different age do not take each other's away; it may be deleted at any time.
set -eu

# release, crate, checksum of the crate, tree (pruned: without what only tests, programs and modules use)
releases='
1.1.1w 111.28.2+1.1.1w bb1830e20a48a975ca898ca8c1d036a36c3c6c5cb7dabc1c216706587857920f whole
3.0.8  300.0.13+3.0.8  f00789a63ec8951fcda9adb0f2258582afdcfe1b2435e332d3a859896f814f0a whole
3.4.1  300.4.2+3.4.1   168ce4e058f975fe43e89d9ccf78ca668601887ae736090aacc23ae353c298e2 whole
3.5.5  300.5.5+3.5.5   3f1787d533e03597a7934fd0a765f0d28e94ecc5fb7789f8053b1e699a56f709 pruned
4.0.3  400.0.2+4.0.3   d2093956673b8dbda85c87fa4fb78e70698ce6c5978a2837d1613f661d3bef76 pruned
'
spare=3.4.1 # the release whose util/mkdef.pl stands in where pruning took it away

complain() {
    printf 'libssl.sh: %s\n' "$*" >&2
    exit 1
}
progress() { printf 'libssl.sh: %s\n' "$*" >&2; }
field() { # release, number of the field
    printf '%s' "$releases" | awk -v release="$1" -v n="$2" '$1 == release { print $n }'
}

if [ "$*" = list ]; then
    printf '%s' "$releases" | awk '{ if (NF) print $1 }'
    exit
fi
[ $# = 2 ] || [ $# = 3 ] || complain "usage: libssl.sh VERSION symbolic|plt [thread|address], or libssl.sh list"
version=$(printf '%s' "$releases" | awk -v v="$1" 'index($1, v) == 1 && substr($1, length(v) + 1, 1) !~ /[0-9]/ { print $1; exit }')
linkage=$2
sanitizer=${3:-}
[ -n "$version" ] || complain "no release $1 here; there are:$(printf '%s' "$releases" | awk 'NF { printf " %s", $1 }')"
case $linkage in
symbolic | plt) ;;
*) complain "no linkage $linkage; there are symbolic and plt" ;;
esac
case $sanitizer in
'' | thread | address) ;;
*) complain "no sanitizer $sanitizer; there are thread and address" ;;
esac
cflags="-O2${sanitizer:+ -g -fno-omit-frame-pointer -fsanitize=$sanitizer}"
# libssl then counts references without fences, which that sanitizer does not understand; it asks clang's way, so gcc
# has to be told.
[ "$sanitizer" != thread ] || cflags="$cflags -DOSSL_TSAN_BUILD"

machine=$(uname -s)-$(uname -m)
case $machine in
Linux-x86_64) target=linux-x86_64 ;;
Linux-aarch64) target=linux-aarch64 ;;
*) complain "knows how to build for Linux on x86_64 and aarch64, and this is $machine" ;;
esac
for tool in cc make perl readelf cargo flock sha256sum; do
    command -v "$tool" >/dev/null 2>&1 || complain "needs $tool; tools/setup.sh matrix installs or names what is missing"
done
perl -MIPC::Cmd -MFindBin -e 1 2>/dev/null || complain "needs perl with its core modules, of which Debian's perl-base is a part only"

home=${XDG_CACHE_HOME:-${HOME:?HOME or XDG_CACHE_HOME says where to build}/.cache}/sslsweep/libssl
mkdir -p "$home"
stamp=$({ cat "$0"; cc --version; echo $target; } | sha256sum | cut -c 1-12)
prefix=$home/$version${sanitizer:+-$sanitizer}-$stamp

# One build at a time: whoever comes second finds it done.
exec 9>"$home/lock"
flock 9
if [ -d "$prefix" ]; then # it came by one rename
    echo "$prefix/$linkage"
    exit
fi

work=$home/work
log=$home/$version${sanitizer:+-$sanitizer}.log
rm -rf "$work"
mkdir "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

step() { # a command, its output in the log
    "$@" >>"$log" 2>&1 && return
    tail -n 20 "$log" >&2
    complain "failed: $* (all of it in $log)"
}

fetch() { # release, folder: its source tree
    crate=$(field "$1" 2)
    mkdir -p "$2.crate/src"
    : >"$2.crate/src/lib.rs"
    cat >"$2.crate/Cargo.toml" <<MANIFEST
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
openssl-src = "=$crate"
MANIFEST
    (cd "$2.crate" && cargo vendor vendor >/dev/null 2>>"$log" ) || {
        tail -n 5 "$log" >&2
        complain "cargo could not fetch openssl-src $crate: the network or a filled cargo cache is needed"
    }
    grep -q "\"package\":\"$(field "$1" 3)\"" "$2.crate/vendor/openssl-src/.cargo-checksum.json" ||
        complain "openssl-src $crate is not the one known here (its checksum differs)"
    mv "$2.crate/vendor/openssl-src/openssl" "$2"
}

: >"$log"
progress "fetching $version"
fetch "$version" "$work/tree"
options=
if [ "$(field "$version" 4)" = pruned ]; then
    options='no-module no-apps no-docs no-tests'
    fetch "$spare" "$work/spare"
    cp "$work/spare/util/mkdef.pl" "$work/tree/util/"
fi

progress "building $version${sanitizer:+ for the $sanitizer sanitizer} (some minutes)"
cd "$work/tree"
# shellcheck disable=SC2086 # a list of words
step perl Configure $target shared $options "CFLAGS=$cflags" "--prefix=$prefix" --libdir=lib "--openssldir=$prefix/ssl"
jobs=$(nproc 2>/dev/null || echo 1)
[ "$jobs" -le 2 ] || jobs=2
step make -j "$jobs" build_libs
step make install_dev "DESTDIR=$work/root"

built=$work/root$prefix
mkdir "$built/symbolic" "$built/plt"
mv "$built/lib" "$built/symbolic/lib"
cp -R "$built/symbolic/lib" "$built/plt/lib"
rm -rf "$built"/*/lib/pkgconfig # they name a folder that there is not
ln -s ../include "$built/symbolic/include"
ln -s ../include "$built/plt/include"

# The second linkage: the same link without one option. make finds nothing else to do.
link=$(sed -n 's/^LIB_LDFLAGS=//p' Makefile)
case $link in
*-Wl,-Bsymbolic*) ;;
*) complain "this release is not linked with -Bsymbolic" ;;
esac
rm -f libcrypto.so* libssl.so*
step make "LIB_LDFLAGS=$(printf '%s' "$link" | sed 's/-Wl,-Bsymbolic//')" build_libs
for library in libcrypto libssl; do
    rm -f "$built/plt/lib/$library".so*
    cp -P "$library".so* "$built/plt/lib/"
done

# ---- Is it what was asked for? ----

dynamic() { LC_ALL=C readelf -d "$1"; }
own_calls() { # how many of its own functions libssl calls through the PLT
    LC_ALL=C readelf -rW "$1" | awk '$3 ~ /JUMP_SL/ && $5 ~ /^SSL_/ { n++ } END { print n + 0 }'
}
for name in symbolic plt; do
    lib=$built/$name/lib
    for library in libcrypto libssl; do
        dynamic "$lib/$library.so" | grep -Eq 'RPATH|RUNPATH' && complain "$name $library.so has a search path of its own"
        said=plt
        dynamic "$lib/$library.so" | grep -q SYMBOLIC && said=symbolic
        [ $said = $name ] || complain "$library.so was to be linked $name and is $said"
    done
    case $name-$(own_calls "$lib/libssl.so") in
    symbolic-0 | plt-[1-9]*) ;;
    *) complain "$name libssl.so calls $(own_calls "$lib/libssl.so") of its own functions through the PLT" ;;
    esac
    # shellcheck disable=SC2086
    step cc $cflags "-I$built/include" -x c -o "$work/version" - -x none "-L$lib" -lssl -lcrypto <<PROGRAM
#include <openssl/ssl.h>
#include <stdio.h>
int main(void) { return !SSL_CTX_new(TLS_server_method()) || puts(OpenSSL_version(OPENSSL_VERSION)) < 0; }
PROGRAM
    said=$(LD_LIBRARY_PATH=$lib "$work/version") || complain "$name libssl.so does not run"
    case $said in
    "OpenSSL $version "*) ;;
    *) complain "built for $version, it says: $said" ;;
    esac
    case $sanitizer in
    thread) hooks=__tsan_read8 ;;
    address) hooks=__asan_report_load8 ;;
    *) continue ;;
    esac
    LC_ALL=C readelf --dyn-syms -W "$lib/libssl.so" | grep -q " UND $hooks" || complain "$name libssl.so is not instrumented"
done

mv "$built" "$prefix"
progress "$version is in $prefix"
echo "$prefix/$linkage"
