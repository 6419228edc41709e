#!/bin/sh
# musl.sh: library, share library and command for musl, in a tree of Debian 13's (tools/tree.sh): the C harness on Alpine's
# libssl 3.5, and nginx. Stock libssl is left out of the harness: on musl, a remove callback that uses the cache waits for ever
# for a lock that glibc would refuse.
#
# NAMES and WAYS choose among the programs of the harness, and PARTS among the parts, all by default: command harness nginx.
#
# Debian has musl with a wrapper of gcc, and the sources of Rust's standard library, from which cargo builds the one that Debian has
# not. What is no part of sslsweep is kept in ~/.cache/sslsweep/musl: that standard library and nginx.
set -eu

# shellcheck source=tools/tree.sh
. "$(dirname "$0")/../../tools/tree.sh"

begin
plant 13
kept=$(dirname "$cache")/musl
mkdir -p "$kept"
enter "$kept" "${PARTS:-command harness nginx}" "${NAMES:-}" "${WAYS:-preload shared static}"
