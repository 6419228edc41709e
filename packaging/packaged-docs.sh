#!/bin/sh
# packaged-docs.sh INTO LIBDIR DATADIR: the documents of a package, as they are true there: the library and the scripts
# are where the package has them, and the target of a link is beside the document, or there is no link.
set -eu

into=$1 libdir=$2 datadir=$3
cd "$(dirname "$0")/.."
# Debian's tools give the changelog another name, so nothing links to it. A link that is kept gets <> meanwhile.
linked='README\.md|compatibility\.md|operations\.md|sharing\.md|fleet\.md|security\.md|metrics\.md|top\.svg'
for text in README.md CHANGELOG.md docs/compatibility.md docs/operations.md docs/sharing.md docs/fleet.md docs/security.md docs/metrics.md; do
    sed -E -e "s#/usr/local/lib\b#$libdir#g; s#/usr/local/share\b#$datadir#g; s#\bdocs/bpftrace/#$datadir/sslsweep/bpftrace/#g" \
        -e 's#\]\((https:[^) ]*)\)#](<\1>)#g' \
        -e "s#\]\(([^)< ]*/)?($linked)\)#](<\2>)#g" \
        -e 's#!?\[([^]]*)\]\([^)< ][^) ]*\)#\1#g' \
        -e 's#\]\(<([^>]*)>\)#](\1)#g' "$text" >"$into/$(basename "$text")"
done
cp docs/plots/top.svg "$into/"
