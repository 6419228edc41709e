# shellcheck shell=sh disable=SC2034,SC2154 # variables of its users, and for them
# tree-inside.sh: the part of tree.sh that runs in namespaces of its own. It takes away the arguments that tree.sh has put first.

what=$1 release=$2 tree=$3 logs=$4 toolchain=$5
shift 5
{
    # A root that is no mount point lets nobody in it make a mount namespace.
    mount --bind "$tree" "$tree"
    for folder in proc sys dev; do mkdir -p "$tree/$folder"; done
    mount --rbind /dev "$tree/dev"
    mount -t tmpfs -o mode=1777 shm "$tree/dev/shm"
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    path=$PATH
    if [ -n "$toolchain" ]; then
        mkdir -p "$tree/opt/rust"
        mount --bind "$toolchain" "$tree/opt/rust"
        mount -o remount,bind,ro "$tree/opt/rust"
        path=/opt/rust/bin:$path
    fi
}

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
    log=$logs/$release-$1-$(echo "$2" | cut -c 1-100 | tr ' /' -).log
    began=$(date +%s)
    status=0
    (user=$1 && shift 2 && inside "$user" "$@") >"$log" 2>&1 || status=$?
    if [ $status != 0 ]; then
        grep -E '^not ok|FAILED|^#   Failed|^make.*Error|^setup:|^error' "$log" | head -n 40 || :
        tail -n 40 "$log"
        echo "$what: Debian $release, $1: $2: failed, see $log" >&2
        exit 1
    fi
    echo "$what: Debian $release, $1: $2: $(($(date +%s) - began)) s"
}

# get PACKAGE...: from Debian. When the first ones are there, the tree has this machine's CA certificates.
get() {
    [ -e "$tree/updated" ] || stage root "apt-get update" apt-get update -qq
    touch "$tree/updated"
    stage root "apt-get install $*" apt-get install -qq -y "$@"
    mkdir -p "$tree/etc/ssl/certs"
    cp "$tree/root/certificates" "$tree/etc/ssl/certs/ca-certificates.crt"
}

# lean: nothing more than what is asked for.
lean() { echo 'APT::Install-Recommends "no";' >"$tree/etc/apt/apt.conf.d/lean"; }

# part NAME: whether it is one of $parts.
part() { case " $parts " in *" $1 "*) ;; *) return 1 ;; esac }
