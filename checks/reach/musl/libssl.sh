#!/bin/sh
# libssl.sh FOLDER: Alpine's libssl in FOLDER/lib, what a linker looks for in FOLDER/dev, and the headers of Debian's libssl of the same
# release in FOLDER/include. The library comes out of a wheel (libssl.txt), where it has names of its own.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=$1
rm -rf "$folder"
mkdir -p "$folder/lib" "$folder/dev" "$folder/include/openssl"
cd "$folder"
pip download -q --no-deps --only-binary=:all: --platform "musllinux_1_2_$(uname -m)" --python-version 3.12 --require-hashes \
    -r "$here/libssl.txt" -d wheel
python3 -m zipfile -e wheel/*.whl wheel
cp wheel/*.libs/libcrypto-*.so.3 lib/libcrypto.so.3
cp wheel/*.libs/libssl-*.so.3 lib/libssl.so.3
rm -r wheel
crypto=$(patchelf --print-soname lib/libcrypto.so.3)
# Alpine's name of the C library, which Debian's linker does not know.
for library in lib/*; do patchelf --replace-needed "libc.musl-$(uname -m).so.1" libc.so "$library"; done
patchelf --set-soname libcrypto.so.3 lib/libcrypto.so.3
patchelf --set-soname libssl.so.3 --replace-needed "$crypto" libcrypto.so.3 --remove-rpath lib/libssl.so.3
# Not in lib, where musl's loader would take one for any library called libssl.so.
for name in crypto ssl; do ln -s "../lib/lib$name.so.3" "dev/lib$name.so"; done
ln -s /usr/include/openssl/* /usr/include/"$(uname -m)"-linux-gnu/openssl/* include/openssl/
