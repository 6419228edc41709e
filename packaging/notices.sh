#!/bin/sh
# notices.sh: prints the notices that the binaries have to come with: the licences, and whose they are, of the crates inside
# that are not given under Apache-2.0 alone, whose text is ours.
set -eu

home=${CARGO_HOME:-$HOME/.cargo}/registry/src
complain() {
    echo "notices: $*" >&2
    exit 1
}

echo "The command sslsweep, the share library and the agent hold crates with the licences below, beside those under Apache-2.0."
crates=$(${CARGO:-cargo} tree --locked -p sslsweep-cli -p sslsweep-share -p sslsweep-agent -e normal,no-proc-macro --prefix none -f '{p};{l}') || complain "cargo tree failed"
printf '%s\n' "$crates" | sed '/^$/d; s/ (\*)$//; / AND /!{/Apache-2\.0/d;}; s/ v\([^ ;]*\)[^;]*;/-\1;/' | LC_ALL=C sort -u | while IFS=';' read -r crate license; do
    # In an archive of `make dist` the crates are beside the sources.
    for folder in "vendor/$crate" "$home"/*/"$crate" none; do [ ! -d "$folder" ] || break; done
    [ "$folder" != none ] || complain "$crate is neither in vendor nor in $home: run cargo fetch"
    # Of a choice one is enough.
    text=
    for file in "$folder"/*MIT* "$folder"/LICEN[SC]E* "$folder"/COPYING* "$folder"/license*; do
        [ -n "$text" ] || [ ! -f "$file" ] || text=$file
    done
    [ -n "$text" ] || complain "$crate has no licence"
    printf '\n---- %s (%s) ----\n\n' "$crate" "$license"
    case $license in
    *" AND "*) cat "$folder"/LICEN[SC]E* ;;
    *) cat "$text" ;;
    esac
done
