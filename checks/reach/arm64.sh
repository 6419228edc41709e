#!/bin/sh
# arm64.sh: the libraries and the command for arm64, in a tree of Debian 13's (tools/tree.sh): cross-built, and run under emulation (qemu-user) on
# arm64's libssl. NAMES and WAYS choose among the programs of the C harness, and PARTS among the parts, all by default: harness
# threads nginx packages. What passed is in build/arm64/systems.tsv.
#
# Threads under emulation see memory in x86-64's order, which is stronger than arm64's: for that there are the models and Miri.
set -eu

# shellcheck source=tools/tree.sh
. "$(dirname "$0")/../../tools/tree.sh"

begin
plant 13
enter_as_own "${PARTS:-harness threads nginx packages}" "${NAMES:-*}" "${WAYS:-stock preload shared static}"
