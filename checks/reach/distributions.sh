#!/bin/sh
# distributions.sh RELEASE...: the C harness on the libssl of Debian's releases (12 13 sid), with updates and security fixes, and on that of
# their backports where these have one. NAMES and WAYS choose among the programs. And 32-bit programs beside the library.
#
# Each release has a tree of its own (tools/tree.sh), whose compiler and headers build the programs. The library is built in the first one,
# by this machine's Rust, and serves all: so the oldest release comes first. What passed is in build/distributions/systems.tsv.
set -eu

# shellcheck source=tools/tree.sh
. "$(dirname "$0")/../../tools/tree.sh"

[ $# -gt 0 ] || set -- 12 13 sid
begin
rm -rf "${work:?}/lib" "$work/systems.tsv"
for release; do
    own_rust
    plant "$release"
    later=
    [ "$release" = sid ] || later="deb $(mirror "$name") $name-backports main"
    enter "${NAMES:-*}" "${WAYS:-stock preload shared static}" "$later"
done
