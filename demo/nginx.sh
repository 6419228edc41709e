#!/bin/sh
# nginx.sh LIB: nginx with its builtin session cache, on libssl alone and with LIB preloaded.
# Exits 77 when there is no nginx.
set -eu

lib=$1
PATH=$PATH:/usr/sbin
nginx=$(command -v nginx) || { # as scripts/setup.sh has unpacked it
    tree=$(cd "$(dirname "$0")/../build" && pwd)/programs/unpacked/nginx
    nginx=$tree/usr/sbin/nginx
    LD_LIBRARY_PATH=$(echo "$tree"/usr/lib/*-linux-gnu* "$tree"/lib/*-linux-gnu* | tr ' ' :)
    export LD_LIBRARY_PATH
}
[ -x "$nginx" ] || exit 77

timeout_seconds=2
dir=$(mktemp -d)
pids=

# End our own nginx processes, gently first, whatever happened.
finish() {
    for pid in $pids; do kill -QUIT "$pid" 2>/dev/null || true; done
    tries=0
    for pid in $pids; do
        while kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=
}
trap 'finish; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null

port_taken() { grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$1") " /proc/net/tcp; }

next_port=$((20000 + $$ % 20000))
free_port() { # sets $port
    while port_taken $next_port; do next_port=$((next_port + 1)); done
    port=$next_port
    next_port=$((next_port + 1))
}

config() { # folder, TLS 1.2 port, TLS 1.3 port
    [ "$(id -u)" != 0 ] || echo "user root;"
    cat <<END
daemon off;
master_process on;
worker_processes 1;
pid $1/nginx.pid;
error_log stderr warn;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path $1/body;
    proxy_temp_path $1/proxy;
    fastcgi_temp_path $1/fastcgi;
    uwsgi_temp_path $1/uwsgi;
    scgi_temp_path $1/scgi;
    ssl_certificate $dir/cert.pem;
    ssl_certificate_key $dir/key.pem;
    ssl_session_cache builtin:1000;
    ssl_session_tickets off;
    ssl_session_timeout ${timeout_seconds}s;
    server { listen 127.0.0.1:$2 ssl; ssl_protocols TLSv1.2; return 200 "ok\n"; }
    server { listen 127.0.0.1:$3 ssl; ssl_protocols TLSv1.3; return 200 "ok\n"; }
}
END
}

# connect PORT OPTIONS: one request. Prints New or Reused as s_client says it.
connect() {
    at=$1
    shift
    printf 'GET / HTTP/1.0\r\n\r\n' |
        timeout 20 openssl s_client -connect "127.0.0.1:$at" -ign_eof "$@" 2>/dev/null |
        sed -n 's/^\(New\|Reused\), TLS.*/\1/p' | head -n 1
}

answers() { # PORT: waits until it does
    tries=0
    until [ "$(connect "$1")" = New ]; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || return 1
        sleep 0.1
    done
}

start() { # mode, command
    mode=$1
    shift
    mkdir "$dir/$mode"
    free_port
    port12=$port
    free_port
    port13=$port
    config "$dir/$mode" "$port12" "$port13" >"$dir/$mode/nginx.conf"
    "$@" "$nginx" -p "$dir/$mode" -e stderr -c "$dir/$mode/nginx.conf" 2>"$dir/$mode/stderr" &
    pids="$pids $!"
    if ! answers "$port12" || ! answers "$port13"; then
        cat "$dir/$mode/stderr"
        echo "FAIL: nginx ($mode) did not start"
        exit 1
    fi
    eval "${mode}_12=$port12 ${mode}_13=$port13"
}

start stock env
start sslsweep env LD_PRELOAD="$lib" SSLSWEEP_VERBOSE=1
"$nginx" -v 2>&1 | sed 's/^/  /'
sed -n '/^ *ssl_session/p' "$dir/stock/nginx.conf" | sed 's/^ */  /'

# Connect, come back at once, come back after the timeout.
for mode in stock sslsweep; do
    for protocol in 12 13; do
        eval "at=\$${mode}_$protocol"
        connect "$at" -sess_out "$dir/$mode/$protocol" >"$dir/$mode/first$protocol"
        connect "$at" -sess_in "$dir/$mode/$protocol" >"$dir/$mode/soon$protocol"
    done
done
sleep $((timeout_seconds + 1))
for mode in stock sslsweep; do
    for protocol in 12 13; do
        eval "at=\$${mode}_$protocol"
        connect "$at" -sess_in "$dir/$mode/$protocol" >"$dir/$mode/late$protocol"
    done
done
finish

status=0
line() { # protocol, occasion, what is wanted, words
    stock=$(cat "$dir/stock/$2$1")
    ours=$(cat "$dir/sslsweep/$2$1")
    printf '  %-46s%12s%12s\n' "$4" "$stock" "$ours"
    if [ "$stock" != "$3" ] || [ "$ours" != "$3" ]; then
        echo "  FAIL: both should be $3"
        status=1
    fi
}
printf '\n  %-46s%12s%12s\n' "" stock sslsweep
line 12 first New "TLS 1.2: first connection"
line 12 soon Reused "TLS 1.2: the same client at once"
line 12 late New "TLS 1.2: the same client after the timeout"
line 13 first New "TLS 1.3: first connection"
line 13 soon Reused "TLS 1.3: the same client at once"
line 13 late New "TLS 1.3: the same client after the timeout*"
echo "  * by TLS 1.3 the client knows the timeout too and need not even ask"

echo
echo "  From the stderr of nginx with sslsweep (SSLSWEEP_VERBOSE=1):"
if grep -q sslsweep "$dir/sslsweep/stderr"; then
    sed 's/^/    /' "$dir/sslsweep/stderr"
else
    echo "  FAIL: nothing. Was it loaded?"
    status=1
fi
exit $status
