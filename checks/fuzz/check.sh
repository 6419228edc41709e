#!/bin/sh
# check.sh: can the fuzzers find anything? Each defect of defects.tsv, put into a copy of the sources, must be found
# within FUZZ_SECONDS (60) from the corpora that are kept (`make fuzz-check`). DEFECTS selects lines by a word in them.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top"
copy=$top/build/fuzz/defect
log=$top/build/fuzz/defect.log
tab=$(printf '\t')
missed=0 count=0

grep -v '^#' checks/fuzz/defects.tsv | grep -e "${DEFECTS:-}" >"$log.list"
while IFS=$tab read -r fuzzer file change what; do
    rm -rf "$copy"
    mkdir -p "$copy"
    cp -R src crates checks tests-c include tools build.rs cbindgen.toml Cargo.toml Cargo.lock "$copy"
    sed "$change" "$file" >"$copy/$file"
    if cmp -s "$file" "$copy/$file"; then
        echo "fuzz-check: the sources have changed, so that this defect is none any more: $file: $change"
        exit 1
    fi
    count=$((count + 1))
    began=$(date +%s)
    # One place for all copies, for the sake of what they depend on; not that of the fuzzers, or a defect might stay there.
    if FUZZ_SECONDS=${FUZZ_SECONDS:-60} FUZZERS=$fuzzer FUZZ_TARGET_DIR="$top/build/fuzz/target-defects" sh "$copy/checks/fuzz/run.sh" >"$log" 2>&1 </dev/null; then
        missed=$((missed + 1))
        echo "fuzz-check: $fuzzer has missed: $what"
    elif grep -q 'has found something\|fails at' "$log"; then
        echo "fuzz-check: $fuzzer finds, building included, in $(($(date +%s) - began)) s: $what"
    else
        cat "$log"
        exit 1
    fi
done <"$log.list"
rm -rf "$copy"
echo "fuzz-check: $((count - missed)) of $count defects found"
[ "$missed" = 0 ] && [ "$count" -gt 0 ]
