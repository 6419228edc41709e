"""HAProxy: a cache of its own, with libssl's turned off. sslsweep must leave it as it is."""

from __future__ import annotations

import re
import signal
import socket
import time

from support import TLS12, TLS13, Client, Failure, Program, Run, Scenario, free_port, nothing_stored, restart, wait_past

HAPROXY = Program("haproxy", "-v")


def ask(run: Run) -> dict[str, int]:
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(run.folder / "admin"))
        admin.sendall(b"show info\n")
        text = b""
        while block := admin.recv(65536):
            text += block
    names = "SslCacheLookups|SslCacheMisses|CumSslConns"
    found = {name: int(value) for name, value in re.findall(rf"^({names}): (\d+)$", text.decode(), re.M)}
    if len(found) != 3:
        raise Failure(f"not all figures in {text!r}")
    return found


def play(run: Run) -> None:
    port = free_port()
    conf = run.write("haproxy.cfg", f"""
global
    stats socket {run.folder}/admin level admin
    tune.ssl.cachesize 1000
    tune.ssl.lifetime 5
    nbthread 1
defaults
    mode http
    timeout client 30s
    timeout connect 30s
    timeout server 30s
frontend front
    bind 127.0.0.1:{port} ssl crt {run.certificate.both} no-tls-tickets ssl-min-ver TLSv1.2
    http-request return status 200 content-type text/plain string ok
""")
    haproxy = run.start(HAPROXY, "-db", "-f", conf, ports=[port], stop_by=signal.SIGUSR1)
    for version in TLS12, TLS13:
        client = Client(version)
        first = client.visit(port)
        run.see(f"answer, {version.name}", first.text, "ok")
        run.see(f"resumed, {version.name}", client.visit(port, first.session).resumed)
    client = Client(TLS12)
    soon = client.crowd(300, port)
    wait_past(time.time(), 5)
    run.see("resumed after their time", client.return_of(soon, port), 0)
    run.see("figures", ask(run))
    run.weigh(haproxy)
    restart(run, haproxy, client, port)


SCENARIOS = [Scenario(HAPROXY, "own cache (control)", play, nothing_stored)]
