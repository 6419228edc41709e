#!/bin/sh
# fresh-inside.sh ... MEMCHECK USERS PACKAGE...: the part of fresh.sh that runs in namespaces of its own.
set -eu

# shellcheck source=tools/tree-inside.sh
. "$(dirname "$0")/tree-inside.sh"

memcheck=$1 users=$2
shift 2
packages=$*

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
