#!/bin/sh
# fresh.sh RELEASE...: the README's commands on a bare Debian (12, 13), in a tree of its own: gets what the README says is needed, clones
# this checkout's HEAD, then `make demo` and `make test` as root, and again as a user (USERS="root visitor"), with MEMCHECK as for `make
# test`.
#
# The tree is made by debootstrap and removed at the end; its base and the packages are kept in ~/.cache/sslsweep/trees. From this machine
# come the package sources (MIRROR=URL names another one), proxies, CA certificates, cargo's configuration, and for Debian 12, whose
# own Rust is too old, the Rust toolchain. Mounts and processes are in namespaces that end with the script. (A shell script, as is
# fresh-inside.sh, which runs where nothing else is.)
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sslsweep/trees
work=$root/build/fresh
tree=$work/tree
child=

complain() {
    printf 'fresh: %s\n' "$*" >&2
    exit 1
}
clean() {
    status=$?
    trap - EXIT
    # unshare does not heed SIGTERM; with it ends the first process of the namespaces, and so all in them.
    [ -z "$child" ] || { kill -KILL "$child" && wait "$child"; } 2>/dev/null || :
    # Nothing is mounted there but in the namespace of the child.
    rm -rf --one-file-system "$tree"
    exit $status
}

# What the outer machine's apt has of Debian, for another release: lines of a sources.list.
sources() { # codename
    if [ -n "${MIRROR:-}" ]; then
        echo "deb $MIRROR $1 main"
        return
    fi
    # shellcheck source=/dev/null
    outer=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    perl -e '
        my ($here, $wanted) = splice @ARGV, 0, 2;
        my %seen;
        sub source {
            my ($uris, $suites) = @_;
            for my $uri (split " ", $uris) {
                for my $suite (grep { s/^\Q$here\E(?=$|-updates$|-security$)/$wanted/ } split " ", $suites) {
                    print "deb $uri $suite main\n" unless $seen{"$uri $suite"}++;
                }
            }
        }
        local $/ = "";
        for (map { open my $file, "<", $_; <$file> } grep { -r } @ARGV) {
            s/^#.*\n//mg;
            my ($uris) = /^URIs:\s*(.*)/m;
            my ($suites) = /^Suites:\s*(.*)/m;
            source($uris, $suites) if $uris && $suites;
            source($1, $2) while /^deb\s+(?:\[.*?\]\s+)?(\S+)\s+(\S+)/mg;
        }' "$outer" "$1" /etc/apt/sources.list /etc/apt/sources.list.d/*
}

# A bare system, as a compressed archive that is made once.
base() { # release, codename, file
    [ ! -e "$3" ] || return 0
    mirror=$(sources "$2" | sed -n 's/^deb \([^ ]*\) [a-z]* main$/\1/p' | head -n 1)
    [ -n "$mirror" ] || complain "no mirror of Debian among apt's sources here; name one: make test-fresh MIRROR=URL"
    echo "fresh: Debian $1: building its base, once"
    debootstrap --variant=minbase "$2" "$tree" "$mirror" >"$work/debootstrap.log" 2>&1 || {
        tail -n 5 "$work/debootstrap.log" >&2
        complain "debootstrap failed: $work/debootstrap.log"
    }
    rm -f "$tree"/var/cache/apt/archives/*.deb
    tar -C "$tree" -cf "$3.new" . && mv "$3.new" "$3"
    rm -rf --one-file-system "$tree"
}

release() { # 12 or 13
    case $1 in
    12) codename=bookworm ;;
    13) codename=trixie ;;
    *) complain "no release '$1' is known here; RELEASES can be 12 and 13" ;;
    esac
    archives=$cache/debian-$1-packages
    mkdir -p "$archives/partial"
    base "$1" $codename "$cache/debian-$1.tar"
    mkdir -p "$tree"
    tar -C "$tree" -xf "$cache/debian-$1.tar"

    sources $codename >"$tree/etc/apt/sources.list"
    apt-config dump | grep -i '^Acquire::[a-z:]*Proxy' >"$tree/etc/apt/apt.conf.d/outer" || :
    cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
    cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$tree/root/certificates"
    mkdir -p "$tree/srv/cargo"
    for file in config config.toml; do
        [ ! -e "${CARGO_HOME:-$HOME/.cargo}/$file" ] || cp "${CARGO_HOME:-$HOME/.cargo}/$file" "$tree/srv/cargo/"
    done
    git clone -q --depth 1 "file://$root" "$tree/srv/sslsweep"

    toolchain=
    [ "$1" != 12 ] || toolchain=$(rustc --print sysroot) || complain "Debian 12 is tried with the Rust of this machine, and there is none"
    # shellcheck disable=SC2046,SC2086 # words: settings; packages
    env -i $(env | grep -i -E '^([a-z]+_proxy|CARGO_(HTTP|NET|REGISTR|SOURCE)[A-Z_]*)=') PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        unshare --mount --pid --ipc --uts --fork --kill-child sh "$root/tools/fresh-inside.sh" \
        "$1" "$tree" "$archives" "$work" "$toolchain" "${MEMCHECK:-yes}" "${USERS:-root visitor}" $needs </dev/null &
    child=$!
    status=0
    wait $child || status=$?
    child=
    rm -rf --one-file-system "$tree"
    [ $status = 0 ] || exit $status
}

[ $# -gt 0 ] || set -- 12 13
[ "$(id -u)" = 0 ] || complain "making a tree of Debian needs root; please run: sudo make test-fresh"
git -C "$root" rev-parse -q --verify HEAD >/dev/null || complain "the commands are tried on a clone, so a Git checkout is needed"
[ -z "$(git -C "$root" status --porcelain --untracked-files=no)" ] || echo "fresh: HEAD is tried; changes that are not committed are not"
# The README is the one place that says what is needed.
needs=$(sed -n 's/^sudo apt-get install \([a-z0-9 +-]*\).*/\1/p' "$root/README.md" | head -n 1)
[ -n "$needs" ] || complain "README.md has no line 'sudo apt-get install ...' that says what is needed"

mkdir -p "$cache" "$work"
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -rf --one-file-system "$tree"
for release; do release "$release"; done
