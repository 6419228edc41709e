#!/bin/sh
# fresh-inside.sh RELEASE TREE ARCHIVES LOGS TOOLCHAIN MEMCHECK USERS PACKAGE...: the part of fresh.sh that runs in namespaces of its own, as
# their first process. TOOLCHAIN is empty where Debian's own Rust serves.
set -eu

release=$1 tree=$2 archives=$3 logs=$4 toolchain=$5 memcheck=$6 users=$7
shift 7
packages=$*
path=$PATH

# A root that is no mount point lets nobody in it make a mount namespace.
mount --bind "$tree" "$tree"
for folder in proc sys dev; do mkdir -p "$tree/$folder"; done
mount --rbind /dev "$tree/dev"
mount -t tmpfs -o mode=1777 shm "$tree/dev/shm"
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --bind "$archives" "$tree/var/cache/apt/archives"
if [ -n "$toolchain" ]; then
    mkdir -p "$tree/opt/rust"
    mount --bind "$toolchain" "$tree/opt/rust"
    mount -o remount,bind,ro "$tree/opt/rust"
    path=/opt/rust/bin:$path
    packages=$(echo " $packages " | sed 's/ cargo / /; s/ rustc / /')
fi

# inside USER COMMAND: in the tree, in a new session.
inside() {
    user=$1
    shift
    home=$(chroot "$tree" sh -c "echo ~$user")
    chroot "$tree" setpriv --reuid="$user" --regid="$user" --init-groups \
        env HOME="$home" USER="$user" CARGO_HOME=/srv/cargo PATH="$path" LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

# stage USER NAME COMMAND: with its output in a log, which is shown when it fails.
stage() {
    log=$logs/$release-$1-$(echo "$2" | tr ' ' -).log
    began=$(date +%s)
    status=0
    (user=$1 && shift 2 && inside "$user" "$@") >"$log" 2>&1 || status=$?
    if [ $status != 0 ]; then
        grep -E '^not ok|FAILED|^#   Failed|^make.*Error|^setup:|^error' "$log" | head -n 40 || :
        tail -n 40 "$log"
        echo "fresh: Debian $release, $1: $2: failed, see $log" >&2
        exit 1
    fi
    echo "fresh: Debian $release, $1: $2: $(($(date +%s) - began)) s"
}

stage root "apt-get update" apt-get update -qq
# shellcheck disable=SC2086 # a list of words
stage root "apt-get install$(printf ' %s' $packages)" apt-get install -qq -y $packages
chroot "$tree" useradd --create-home --groups users --shell /bin/sh visitor
mkdir -p "$tree/etc/ssl/certs"
cp "$tree/root/certificates" "$tree/etc/ssl/certs/ca-certificates.crt"
# The crates, and what root has built, are handed on to the user: building all of it again would prove nothing new.
for user in $users; do
    chroot "$tree" chown -R "$user:$user" /srv
    stage "$user" "make demo" make -C /srv/sslsweep demo
    stage "$user" "make test" make -C /srv/sslsweep test MEMCHECK="$memcheck"
done
