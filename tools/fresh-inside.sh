#!/bin/sh
# fresh-inside.sh RELEASE TREE LOGS TOOLCHAIN MEMCHECK USERS PACKAGE...: the part of fresh.sh that runs in namespaces of its own, as
# their first process. TOOLCHAIN is empty where Debian's own Rust serves.
# shellcheck disable=SC2034 # tree-inside.sh uses them
set -eu

what=fresh release=$1 tree=$2 logs=$3 toolchain=$4 memcheck=$5 users=$6
shift 6
packages=$*
# shellcheck source=tools/tree-inside.sh
. "$(dirname "$0")/tree-inside.sh"

[ -z "$toolchain" ] || packages=$(echo " $packages " | sed 's/ cargo / /; s/ rustc / /')
# shellcheck disable=SC2086 # a list of words
get $packages
chroot "$tree" useradd --create-home --groups users --shell /bin/sh visitor
# The crates, and what root has built, are handed on to the user: building all of it again would prove nothing new.
for user in $users; do
    chroot "$tree" chown -R "$user:$user" /srv
    stage "$user" "make demo" make -C /srv/sslsweep demo
    stage "$user" "make test" make -C /srv/sslsweep test MEMCHECK="$memcheck"
done
