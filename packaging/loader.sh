#!/bin/sh
# loader.sh LIBDIR: after an installation for this system: has the loader take note of the library in LIBDIR, or says what to do for that.
set -eu

libdir=$1
PATH=$PATH:/usr/sbin:/sbin # which not every user has

if ! command -v ldconfig >/dev/null; then
    echo "install: there is no ldconfig here, so the loader may not find libsslsweep.so in $libdir"
    exit
fi
searched=
real=$(realpath "$libdir")
for folder in $(ldconfig -NXv 2>/dev/null | sed -n 's|^\(/[^:]*\):.*|\1|p'); do
    [ "$(realpath "$folder")" != "$real" ] || searched=yes
done
if [ -z "$searched" ]; then
    echo "install: the loader does not search $libdir; relinked programs need -Wl,-rpath,$libdir (or, as root:"
    echo "install: echo $libdir >/etc/ld.so.conf.d/sslsweep.conf && ldconfig)"
elif [ "$(id -u)" = 0 ]; then
    ldconfig
else
    echo "install: so that the loader finds the library in $libdir, run as root: ldconfig"
fi
