#!/bin/sh
# dist.sh VERSION FOLDER: puts sslsweep-VERSION.tar.gz into FOLDER: the files of HEAD, and the crates of library, command and their
# tests, so that it builds without a network. The same commit gives the same bytes. (Not the crates of checks/models and
# checks/fuzz.)
set -eu

name=sslsweep-$1
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)/$name.tar.gz
umask 022

complain() {
    printf 'make dist: %s\n' "$*" >&2
    exit 1
}
commit=$(git -C "$root" rev-parse -q --verify HEAD) || complain "$root is no Git checkout; the archive is made of what Git has"
[ -z "$(git -C "$root" status --porcelain --untracked-files=no)" ] || echo "make dist: HEAD is packed; changes that are not committed are not"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT HUP TERM
git -C "$root" archive --prefix="$name/" "$commit" >"$scratch/files.tar"
tar -C "$scratch" -xf "$scratch/files.tar"
cd "$scratch/$name"
mkdir -p .cargo
${CARGO:-cargo} vendor --locked --quiet --versioned-dirs vendor >/dev/null || complain "cargo could not get the crates; that needs a network"
cat >.cargo/config.toml <<'END'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "vendor"
END
# Libraries to link with on Windows, two thirds of it all.
rm -rf vendor/windows_*/lib vendor/winapi-*-pc-windows-gnu-*/lib
tar -C "$scratch" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
    --mtime="@$(git -C "$root" log -1 --format=%ct "$commit")" -cf - "$name" | gzip -9n >"$out.new"
mv "$out.new" "$out"
echo "make dist: $out, $(wc -c <"$out") bytes"
