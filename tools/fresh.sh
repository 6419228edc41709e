#!/bin/sh
# fresh.sh RELEASE...: the README's commands on a bare Debian (12, 13), in a tree of its own (tree.sh): gets what the README says is
# needed, clones this checkout's HEAD, then `make demo` and `make test` as root, and again as a user (USERS="root visitor"), with
# MEMCHECK as for `make test`.
#
# Debian 12, whose own Rust is too old, is given this machine's. (A shell script, as are those that it uses, which run where nothing
# else is.)
set -eu

# shellcheck source=tools/tree.sh
. "$(dirname "$0")/tree.sh"

[ $# -gt 0 ] || set -- 12 13
# The README is the one place that says what is needed.
needs=$(sed -n 's/^sudo apt-get install \([a-z0-9 +-]*\).*/\1/p' "$root/README.md" | head -n 1)
[ -n "$needs" ] || complain "README.md has no line 'sudo apt-get install ...' that says what is needed"

begin
for release; do
    plant "$release"
    toolchain=
    [ "$release" != 12 ] || own_rust
    # shellcheck disable=SC2086 # a list of packages
    enter "${MEMCHECK:-yes}" "${USERS:-root visitor}" $needs
done
