#!/bin/sh
# toolchain.sh: turns a tree of Debian's with musl-tools into a machine whose C compiler, `cc`, is musl's, as on Alpine.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
machine=$(uname -m)
own=$machine-linux-musl
gcc=$machine-linux-gnu-gcc
headers=/usr/local/include/$own

# musl has no headers of the kernel.
mkdir -p "$headers"
for folder in linux asm-generic; do ln -sfn /usr/include/$folder "$headers/$folder"; done
ln -sfn "/usr/include/$machine-linux-gnu/asm" "$headers/asm"

# Debian has left this header of musl's out.
cat >"$headers/crypt.h" <<END
struct crypt_data {
    int initialized;
    char buffer[256];
};
char *crypt(const char *, const char *);
char *crypt_r(const char *, const char *, struct crypt_data *);
END

# (TREE_CFLAGS come last, and so prevail.)
cat >/usr/local/bin/cc <<END
#!/bin/sh
exec $gcc "\$@" \$TREE_CFLAGS -idirafter $headers -specs /usr/lib/$own/musl-gcc.specs
END
chmod 755 /usr/local/bin/cc
ln -sf cc /usr/local/bin/gcc

# The unwinder as a shared library, which musl's distributions have, and Debian has for glibc alone: LLVM's, under the name of gcc's.
# The rest of that is in libgcc.a, as a linker's script says for glibc as well.
folder=/usr/lib/$own
cc -shared -fPIC -O2 -Wl,-soname,libgcc_s.so.1 -Wl,-z,defs -o "$folder/libgcc_s.so.1" "$here/fortified.c" \
    -Wl,--whole-archive /usr/lib/llvm-*/lib/libunwind.a -Wl,--no-whole-archive
echo "GROUP ( libgcc_s.so.1 $($gcc -print-file-name=libgcc.a) )" >"$folder/libgcc_s.so"
