#!/bin/sh
# matrix.sh [VERSION...]: the whole C harness on each libssl, all that tools/libssl.sh knows by default.
#
# A cell is a release in one of its two linkages, or `system`, the libssl that is installed. Programs are
# compiled and linked once for a release, since its linkages have the same headers and symbols. What each
# cell printed is in build/matrix/VERSION-LINKAGE/, the numbers in build/matrix/results.tsv: version,
# linkage, the libssl that was asked, way, programs passed, programs failed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$here/../build
matrix=$build/matrix
results=$matrix/results.tsv
status=0

# shellcheck disable=SC2046 # a list of words
[ $# -gt 0 ] || set -- system $(sh "$here/../tools/libssl.sh" list)

# What can't be built is known before anything runs.
for version; do
    [ "$version" = system ] || sh "$here/../tools/libssl.sh" "$version" symbolic >/dev/null
done
mkdir -p "$matrix"
printf 'version\tlinkage\tlibssl\tway\tpassed\tfailed\n' >"$results"

# cell VERSION LINKAGE [PREFIX]: runs the harness and notes its results. The system's linkage is seen then.
cell() {
    out=$matrix/$1-$2
    began=$(date +%s)
    rm -rf "$out"
    mkdir -p "$out"
    if [ "$1" = system ]; then
        set -- "$1" "$2" BUILD="$build/tests"
    else
        set -- "$1" "$2" BUILD="$matrix/$1" OPENSSL_CFLAGS="-I$3/include" OPENSSL_LIBS="-L$3/lib -lssl -lcrypto" \
            LD_LIBRARY_PATH="$3/lib" TEST_LIBSSL="OpenSSL $1 $2"
    fi
    version=$1 linkage=$2
    shift 2
    # As make's variables they reach its recipes through the environment too. Four at a time: most programs wait more than they compute.
    failed=
    make -s --no-print-directory -C "$here" -j 2 check LIBDIR="$build/lib" "$@" TEST_OUT="$out" TEST_JOBS=4 \
        >"$out/log" 2>&1 </dev/null || failed=1
    said=$(sed -n 's/^# libssl: OpenSSL \([^ ]*\) .*, \([a-z]*\)$/\1 \2/p' "$out/flush_basic.stock.out" 2>/dev/null) || said=
    [ -n "$said" ] || said="unknown unknown"
    {
        cut -f 2,3 "$out/results.tsv" 2>/dev/null || :
        printf 'harness\t%s\n' "${failed:+failed}"
    } | awk -v version="$version" -v said="$said" -v OFS='\t' '
        { seen[$1] = 1; count[$1, $2]++; bad += $1 != "harness" && $2 == "failed" }
        END {
            split(said, libssl, " ")
            n = split("stock preload shared static", ways, " ")
            for (i = 1; i <= n; i++)
                if (seen[ways[i]])
                    print version, libssl[2], libssl[1], ways[i], count[ways[i], "passed"] + 0, count[ways[i], "failed"] + 0
            # It failed otherwise: at building, or it did not come to its end.
            if (!bad && count["harness", "failed"])
                print version, libssl[2], libssl[1], "harness", 0, 1
        }' >>"$results"
    if [ -n "$failed" ]; then
        status=1
        cat "$out/log"
    fi
    echo "matrix: $version $linkage: ${failed:+not }all well, $(($(date +%s) - began)) s"
}

headers=
for version; do
    if [ "$version" = system ]; then
        cell system installed
        continue
    fi
    for linkage in symbolic plt; do
        prefix=$(sh "$here/../tools/libssl.sh" "$version" "$linkage")
        release=$(basename "$(dirname "$prefix")") # with a stamp of how it was built
        cell "${release%-*}" "$linkage" "$prefix"
    done
    headers="$headers $prefix/include"
done

# The header beside <openssl/ssl.h> of each release.
if (cd "$here" && HEADER_DIRS=$headers prove header.t) >"$matrix/header.log" 2>&1; then
    printf 'all\t-\t-\theader\t1\t0\n' >>"$results"
else
    status=1
    cat "$matrix/header.log"
    printf 'all\t-\t-\theader\t0\t1\n' >>"$results"
fi

echo
awk -F '\t' '
    function row(a, b, c, d, e, f, g) { printf "%-8s %-10s %-10s %10s %10s %10s %10s\n", a, b, c, d, e, f, g }
    NR == 1 { row("version", "linkage", "libssl", "stock", "preload", "shared", "static"); next }
    { passed += $5; failed += $6 }
    $4 == "header" || $4 == "harness" { others = others sprintf("%s %s, %s: %s\n", $1, $2, $4, $6 ? "failed" : "passed"); next }
    {
        cell = $1 "\t" $2 "\t" $3
        if (!(cell in known)) { known[cell] = 1; cells[++n] = cell }
        number[cell, $4] = $6 ? $5 " +" $6 "!" : $5
    }
    END {
        for (i = 1; i <= n; i++) {
            split(cells[i], c, "\t")
            row(c[1], c[2], c[3], number[cells[i], "stock"], number[cells[i], "preload"], number[cells[i], "shared"], number[cells[i], "static"])
        }
        printf "%s(programs passed; +N! failed)\n\n%d passed, %d failed\n", others, passed, failed
    }' "$results"
exit $status
