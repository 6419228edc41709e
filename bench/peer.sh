#!/bin/sh
# peer.sh NAME: builds another library's libssl for the benchmarks and prints where it is.
# peer.sh list: prints the names it knows.
#
# What is printed holds include/ and lib/. The sources are those that a crate carries, since cargo fetches
# and verifies them and has to be there anyway. Kept in ${XDG_CACHE_HOME:-~/.cache}/sslsweep/peers, until
# this recipe or the compiler changes.
set -eu

# name, crate, its release and checksum, where in it the sources are
peers='
boringssl boring-sys 5.4.0  4986392770df40d11d0d6294b0dd8399570f4a6e76d6953c7a34f7dd1defbd76 deps/boringssl
aws-lc    aws-lc-sys 0.47.0 8bfbe32ac36b3c428696ce315464181bc4029d689fd58e3f2a4e58c252242f52 aws-lc
'

complain() {
    printf 'peer.sh: %s\n' "$*" >&2
    exit 1
}
progress() { printf 'peer.sh: %s\n' "$*" >&2; }
field() { printf '%s' "$peers" | awk -v name="$name" -v n="$1" '$1 == name { print $n }'; }

[ $# = 1 ] || complain "usage: peer.sh NAME, or peer.sh list"
if [ "$1" = list ]; then
    printf '%s' "$peers" | awk 'NF { print $1 }'
    exit
fi
name=$1
crate=$(field 2)
release=$(field 3)
[ -n "$crate" ] || complain "no peer $name here; there are:$(printf '%s' "$peers" | awk 'NF { printf " %s", $1 }')"
for tool in cc c++ cmake make cargo flock sha256sum; do
    command -v "$tool" >/dev/null 2>&1 || complain "needs $tool; tools/setup.sh bench installs or names what is missing"
done

home=${XDG_CACHE_HOME:-${HOME:?HOME or XDG_CACHE_HOME says where to build}/.cache}/sslsweep/peers
mkdir -p "$home"
prefix=$home/$name
stamp="$(sha256sum <"$0") $(c++ --version | head -n 1) $(uname -m)"

# One build at a time: whoever comes second finds it done.
exec 9>"$home/lock"
flock 9
if [ "$(cat "$prefix/stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "$prefix"
    exit
fi

work=$home/work
log=$home/$name.log
rm -rf "$work"
mkdir -p "$work/crate/src" "$work/build" "$work/root/lib"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

step() { # a command, its output in the log
    "$@" >>"$log" 2>&1 && return
    tail -n 20 "$log" >&2
    complain "failed: $* (all of it in $log)"
}

: >"$log"
progress "fetching $name ($crate $release)"
: >"$work/crate/src/lib.rs"
cat >"$work/crate/Cargo.toml" <<MANIFEST
[package]
name = "fetch"
version = "0.0.0"
edition = "2021"
[dependencies]
$crate = "=$release"
MANIFEST
(cd "$work/crate" && cargo vendor vendor >/dev/null 2>>"$log") || {
    tail -n 5 "$log" >&2
    complain "cargo could not fetch $crate $release: the network or a filled cargo cache is needed"
}
grep -q "\"package\":\"$(field 4)\"" "$work/crate/vendor/$crate/.cargo-checksum.json" ||
    complain "$crate $release is not the one known here (its checksum differs)"
sources=$work/crate/vendor/$crate/$(field 5)

progress "building $name (a minute or two)"
jobs=$(nproc 2>/dev/null || echo 1)
[ "$jobs" -le 2 ] || jobs=2
# The last three are AWS-LC's: no program, and the generated sources that it carries.
step cmake -S "$sources" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DBUILD_TESTING=OFF \
    -DBUILD_TOOL=OFF -DDISABLE_GO=ON -DDISABLE_PERL=ON
step make -C "$work/build" -j "$jobs" ssl

cp -R "$sources/include" "$work/root/include"
find "$work/build" -name 'lib*.so*' -exec cp -P {} "$work/root/lib/" \;
for library in libcrypto libssl; do
    [ -e "$work/root/lib/$library.so" ] || complain "the build of $name made no $library.so"
done
printf '%s\n' "$stamp" >"$work/root/stamp"
rm -rf "$prefix"
mv "$work/root" "$prefix"
progress "$name is in $prefix"
echo "$prefix"
