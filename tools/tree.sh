# shellcheck shell=sh disable=SC2034,SC2154 # variables of its users, and for them
# tree.sh: systems of Debian's in folders of their own, for the scripts that source it: tools/fresh.sh and checks/reach/*.sh. NAME.sh
# does what `make test-NAME` says; the part of it that runs in the namespaces of a tree is NAME-inside.sh. A tree is made by debootstrap and removed at the end; its base and the packages
# are kept in ~/.cache/sslsweep/trees. (The packages as links, so that each tree's apt has the folder, and its lock, to itself.) From this machine come the package sources (MIRROR=URL names another one), proxies,
# CA certificates and cargo's configuration. Mounts and processes are in namespaces that end with the script.

here=$(cd "$(dirname "$0")" && pwd)
what=$(basename "$0" .sh)
root=$(git -C "$here" rev-parse --show-toplevel) || root=
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sslsweep/trees
work=$root/build/$what
tree=$work/tree
toolchain= # empty where Debian's own Rust serves
child=

complain() {
    printf '%s: %s\n' "$what" "$*" >&2
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

# Before the first tree.
begin() {
    [ -n "$root" ] || complain "the commands are tried on a clone, so a Git checkout is needed"
    [ "$(id -u)" = 0 ] || complain "making a tree of Debian needs root; please run: sudo make test-$what"
    mkdir -p "$cache" "$work"
    trap clean EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    rm -rf --one-file-system "$tree"
    [ -z "$(git -C "$root" status --porcelain --untracked-files=no)" ] || echo "$what: HEAD is tried; changes that are not committed are not"
}

# This machine's Rust, for releases whose own is too old.
own_rust() {
    toolchain=$(rustc --print sysroot) || complain "Debian $release is tried with the Rust of this machine, and there is none"
}

codename() { # release
    case $1 in
    12) echo bookworm ;;
    13) echo trixie ;;
    sid) echo sid ;;
    *) complain "no release '$1' of Debian is known here; RELEASES can be 12, 13 and sid" ;;
    esac
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
                    # sid has neither updates nor a security archive.
                    next if $wanted eq "sid" && $suite ne "sid";
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

# The first source that has the release itself.
mirror() { # codename
    sources "$1" | sed -n 's/^deb \([^ ]*\) [a-z]* main$/\1/p' | head -n 1
}

# A bare system, as a compressed archive that is made once.
base() { # release, codename, file
    [ ! -e "$3" ] || return 0
    from=$(mirror "$2")
    [ -n "$from" ] || complain "no mirror of Debian among apt's sources here; name one: make test-$what MIRROR=URL"
    echo "$what: Debian $1: building its base, once"
    debootstrap --variant=minbase "$2" "$tree" "$from" >"$work/debootstrap.log" 2>&1 || {
        tail -n 5 "$work/debootstrap.log" >&2
        complain "debootstrap failed: $work/debootstrap.log"
    }
    rm -f "$tree"/var/cache/apt/archives/*.deb
    tar -C "$tree" -cf "$3.new" . && mv "$3.new" "$3"
    rm -rf --one-file-system "$tree"
}

# keep FROM TO: the packages that are not there yet, as copies where the file systems differ. What fails is fetched again.
keep() {
    for how in --link --reflink=auto; do
        find "$1" -maxdepth 1 -name '*.deb' -exec cp "$how" -nt "$2" {} + 2>/dev/null && break
    done || :
}

# plant RELEASE: the tree, with this checkout's HEAD in /srv/sslsweep.
plant() {
    release=$1
    name=$(codename "$1")
    archives=$cache/debian-$1-packages
    mkdir -p "$archives"
    base "$1" "$name" "$cache/debian-$1.tar"
    mkdir -p "$tree"
    tar -C "$tree" -xf "$cache/debian-$1.tar"
    keep "$archives" "$tree/var/cache/apt/archives"
    # The tree is thrown away, so nothing in it has to survive a power cut.
    echo force-unsafe-io >"$tree/etc/dpkg/dpkg.cfg.d/unsafe"

    sources "$name" >"$tree/etc/apt/sources.list"
    { apt-config dump | grep -i '^Acquire::[a-z:]*Proxy' || :; echo 'Acquire::Retries "5";'; } >"$tree/etc/apt/apt.conf.d/outer"
    cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
    cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$tree/root/certificates"
    mkdir -p "$tree/srv/cargo"
    for file in config config.toml; do
        [ ! -e "${CARGO_HOME:-$HOME/.cargo}/$file" ] || cp "${CARGO_HOME:-$HOME/.cargo}/$file" "$tree/srv/cargo/"
    done
    git clone -q --depth 1 "file://$root" "$tree/srv/sslsweep"
}

# enter ARGUMENT...: NAME-inside.sh in namespaces of its own, as their first process; it begins with tree-inside.sh, which takes what all
# of them are told. The tree goes when it has ended.
enter() { enter_by '' "$@"; }

# The same in a user namespace too, in which everybody is who he is outside.
enter_as_own() { enter_by --user "$@"; }

enter_by() {
    user=$1
    shift
    # Until there are users, this first process is nobody, and has no rights after an exec.
    # shellcheck disable=SC2016 # for the inner shell
    wait='until [ -n "$(cat /proc/self/uid_map)" ] && [ -n "$(cat /proc/self/gid_map)" ]; do sleep 0.01; done; exec sh "$@"'
    # shellcheck disable=SC2046,SC2086 # a word for each setting; one or none
    env -i $(env | grep -i -E '^([a-z]+_proxy|CARGO_(HTTP|NET|REGISTR|SOURCE)[A-Z_]*)=') PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        unshare $user --mount --pid --ipc --uts --fork --kill-child sh -c "$wait" sh \
        "$here/$what-inside.sh" "$what" "$release" "$tree" "$work" "$toolchain" "$@" </dev/null &
    child=$!
    [ -z "$user" ] || name_users
    status=0
    wait $child || status=$?
    child=
    keep "$tree/var/cache/apt/archives" "$archives"
    rm -rf --one-file-system "$tree"
    [ $status = 0 ] || exit $status
}

name_users() {
    until [ "$(readlink "/proc/$child/ns/user")" != "$(readlink /proc/self/ns/user)" ]; do
        sleep 0.01
    done
    for map in uid_map gid_map; do echo 0 0 4294967295 >"/proc/$child/$map"; done
}
