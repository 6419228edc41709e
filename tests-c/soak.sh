#!/bin/sh
# soak.sh MINUTES [VERSION...]: the stress program (hs_stress.c) for some minutes in all, shared among the libssl
# named: `system` (the default) and releases that tools/libssl.sh builds, in both linkages.
#
# Half a minute a run, each with the next seed and the next of our three ways. SEED is the first; it is printed, and
# a failure says how to repeat its run. (A seed decides what each thread does, not how they meet.)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$here/../build
minutes=${1:?soak.sh MINUTES [VERSION...]}
shift
[ $# -gt 0 ] || set -- system
seed=${SEED:-$(date +%s)}

complain() {
    printf 'soak.sh: %s\n' "$*" >&2
    exit 1
}
case $minutes in
*[!0-9]* | '' | 0) complain "MINUTES is a number of minutes, and not $minutes" ;;
esac

# One line for each libssl: name, folder of programs, folder of the library or nothing.
libssls=
for version; do
    if [ "$version" = system ]; then
        make -s --no-print-directory -C "$here" -j 2 all LIBDIR="$build/lib" BUILD="$build/tests" TEST_NAMES=hs_stress \
            TEST_WAYS='preload shared static'
        libssls="$libssls$version $build/tests
"
        continue
    fi
    for linkage in symbolic plt; do
        prefix=$(sh "$here/../tools/libssl.sh" "$version" "$linkage")
        make -s --no-print-directory -C "$here" -j 2 all LIBDIR="$build/lib" BUILD="$build/matrix/$version" \
            OPENSSL_CFLAGS="-I$prefix/include" OPENSSL_LIBS="-L$prefix/lib -lssl -lcrypto" TEST_NAMES=hs_stress \
            TEST_WAYS='preload shared static'
        libssls="$libssls$version-$linkage $build/matrix/$version $prefix/lib
"
    done
done

count=$(printf '%s' "$libssls" | wc -l)
share=$((minutes * 60 / count))
length=$((share < 30 ? share : 30))
out=$build/soak.out
passed=0

# run NAME FOLDER LIBRARIES: one run, with the present seed and way.
run() {
    preload=
    folder=$way
    if [ "$way" = preload ]; then
        folder=stock
        preload=$build/lib/libsslsweep.so
    fi
    said="STRESS_SEED=$seed STRESS_SECONDS=$length${preload:+ LD_PRELOAD=$preload} LD_LIBRARY_PATH=$build/lib:$3 $2/$folder/hs_stress"
    echo "soak: $1, $way, seed $seed, $length s"
    # shellcheck disable=SC2086 # words: settings and a program
    { env $said 2>&1 || echo "soak: failed"; } | tee "$out" | grep -E '^# [0-9]+ s:|FAILED|GAVE UP|^soak: failed' || :
    if grep -q '^done$' "$out" && grep -q '^# under: sslsweep$' "$out" && ! grep -q '^soak: failed' "$out"; then
        passed=$((passed + 1))
        return
    fi
    cat "$out"
    echo "soak: to repeat: $said"
    echo "$passed passed, 1 failed"
    exit 1
}

began=$(date +%s)
for round in $(seq $((share / length))); do
    while read -r name folder libraries; do
        case $((seed % 3)) in
        0) way=preload ;;
        1) way=shared ;;
        *) way=static ;;
        esac
        run "$name" "$folder" "$libraries"
        seed=$((seed + 1))
    done <<END
$(printf '%s' "$libssls")
END
done
echo "soak: $round rounds on $count libssl, $(($(date +%s) - began)) s"
echo "$passed passed, 0 failed"
