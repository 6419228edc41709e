#!/bin/sh
# nginx.sh LIBSSL FOLDER: builds Debian's nginx for musl, with this libssl, as FOLDER/nginx, unless that is there.
set -eu

libssl=$1 folder=$2
[ ! -x "$folder/nginx" ] || exit 0
rm -rf /srv/nginx
mkdir -p /srv/nginx "$folder"
cd /srv/nginx
# What upstream has released, as archives: no patch of Debian's is needed.
apt-get source -qq --download-only --tar-only nginx pcre2
for archive in *.orig.tar.*; do tar -xf "$archive"; done
cd nginx-*
./configure --with-cc=cc --with-http_ssl_module --without-http_gzip_module --with-pcre="$(echo ../pcre2-*.*[0-9])" \
    --with-cc-opt="-I$libssl/include" --with-ld-opt="-L$libssl/dev -Wl,-rpath,$libssl/lib"
make -j2
cp objs/nginx "$folder/nginx.new"
mv "$folder/nginx.new" "$folder/nginx"
