#!/bin/sh
# nginx.sh [LIB]: nginx with its builtin session cache, with LIB preloaded if it is given. By TLS 1.2 and by TLS 1.3 a client
# connects, comes back at once, and comes back after the timeout; prints whether its session was New or Reused.
# nginx's standard error goes to ours. Exits 77 when there is no nginx.
set -eu

lib=${1:-}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin
nginx=$(command -v nginx) || { # as tools/setup.sh has unpacked it
    tree=$here/../../build/programs/unpacked/nginx
    nginx=$tree/usr/sbin/nginx
    LD_LIBRARY_PATH=$(echo "$tree"/usr/lib/*-linux-gnu* "$tree"/lib/*-linux-gnu* | tr ' ' :)
    export LD_LIBRARY_PATH
}
[ -x "$nginx" ] || exit 77

dir=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || ! kill -QUIT "$server" 2>/dev/null || wait "$server" || true
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM HUP

cd "$dir" # names of sockets must be short, so they are relative
cp "$here/nginx.conf" .
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -keyout key.pem -out cert.pem 2>/dev/null

user= # root's temporary folder is closed to others
[ "$(id -u)" != 0 ] || user="user root;"
# timeout, so that nothing can hang; it hands signals on.
timeout 60 env ${lib:+"LD_PRELOAD=$lib"} SSLSWEEP_VERBOSE=1 "$nginx" -p "$dir" -e stderr -c "$dir/nginx.conf" \
    -g "daemon off; $user" >&2 &
server=$!
until [ -s pid ]; do # nginx writes it when it listens
    kill -0 "$server" 2>/dev/null || exit 1
    sleep 0.1
done

# connect SOCKET OCCASION OPTIONS: one request.
connect() {
    socket=$1
    occasion=$2
    shift 2
    session=$(printf 'GET / HTTP/1.0\r\n\r\n' | timeout 20 openssl s_client -unix "$socket" -ign_eof "$@" 2>/dev/null |
        sed -n 's/^\(New\|Reused\), TLS.*/\1/p' | head -n 1)
    echo "step=${socket}_$occasion session=$session"
}

"$nginx" -v 2>&1 | sed -n 's/.*: nginx\//version=nginx /p'
for socket in tls12 tls13; do
    connect "$socket" first -sess_out "$socket.session"
    connect "$socket" soon -sess_in "$socket.session"
done
sleep 4 # longer than ssl_session_timeout
for socket in tls12 tls13; do connect "$socket" late -sess_in "$socket.session"; done
