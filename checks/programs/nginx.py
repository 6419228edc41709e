"""nginx: its builtin cache is libssl's internal one, its shared one is its own."""

from __future__ import annotations

import os
import pathlib
import signal
import time
from collections.abc import Callable

from support import (ANY, STATEFUL, TLS12, TLS13, Certificate, Client, Program, Run, Scenario, Server, flushed, free_port,
                     nothing_stored, restart, stateful, stored, wait_past, wait_until)

NGINX = Program("nginx", "-v")
# Of a server with virtual hosts of its own.
BUILTIN = """
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache builtin:5000;
    ssl_session_tickets off;
    ssl_session_timeout 600s;
"""


def configure(folder: pathlib.Path, http: str, *, workers: int = 1, user: str = "nobody nogroup", daemon: str = "off",
              more: str = "") -> list[str]:
    """nginx's arguments for a configuration in this folder: with these lines in `http`, `more` of them outside, and as root
    with workers of this user."""
    paths = "".join(f"{what}_temp_path {folder}/{what};\n" for what in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = folder / "nginx.conf"
    conf.write_text(f"""
{f"user {user};" if os.geteuid() == 0 else ""}
daemon {daemon};
{more}
worker_processes {workers};
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    {paths}
    {http}
}}
""")
    return ["-p", str(folder), "-e", "stderr", "-c", str(conf)]


def start(run: Run, cache: str, servers: str, ports: list[int], workers: int = 1, tickets: str = "off") -> Server:
    arguments = configure(run.folder, f"""
    ssl_certificate {run.certificate.certificate};
    ssl_certificate_key {run.certificate.key};
    ssl_session_cache {cache};
    ssl_session_tickets {tickets};
    ssl_session_timeout 300s;
    {servers}""", workers=workers, user="root")
    return run.start(NGINX, *arguments, ports=ports, stop_by=signal.SIGQUIT)


def server(port: int, protocols: str, more: str = "", listen: str = "") -> str:
    """Answers with the number of the worker."""
    return f'server {{ listen 127.0.0.1:{port} ssl {listen}; ssl_protocols {protocols}; {more} return 200 "$pid"; }}\n'


def builtin(run: Run) -> None:
    port12, port13, short, strict = free_port(), free_port(), free_port(), free_port()
    nginx = start(run, "builtin:5000", server(port12, "TLSv1.2") + server(port13, "TLSv1.3")
                  + server(short, "TLSv1.2", "ssl_session_timeout 1s;")
                  + server(strict, "TLSv1.2", f"ssl_verify_client on; ssl_client_certificate "
                           f"{run.certificate.certificate};"), [port12, port13, short, strict])
    client12, client13 = Client(TLS12), Client(TLS13)
    run.see("resumed, TLS 1.2", client12.return_of(client12.crowd(40, port12), port12), 40)
    run.see("resumed, TLS 1.3", client13.return_of(client13.crowd(40, port13), port13), 40)

    # Who shows no certificate gets an error, and nginx takes the session out of the cache.
    visit = client12.visit(strict)
    run.see("without a certificate", "400 " in visit.text, True)
    run.see("resumed without a certificate", client12.visit(strict, visit.session).resumed, False)

    soon = client12.crowd(40, short)
    wait_past(time.time(), 1)
    run.see("resumed after their time", client12.return_of(soon[:20], short), 0)
    client12.crowd(260, short)  # libssl flushes after every 255
    run.see("resumed after a flush", client12.return_of(soon[20:], short), 0)
    run.weigh(nginx)
    # Since when libssl counts to 255 is a stated difference (C8), so how many are left differs.
    restart(run, nginx, client12, port12, uncounted={"number"})


def shared_with(cache: str, after_reload: int) -> Callable[[Run], None]:
    def play(run: Run) -> None:
        port12, port13, short = free_port(), free_port(), free_port()
        nginx = start(run, cache, server(port12, "TLSv1.2") + server(port13, "TLSv1.3")
                      + server(short, "TLSv1.2", "ssl_session_timeout 1s;"), [port12, port13, short])
        for version, port in (TLS12, port12), (TLS13, port13):
            client = Client(version)
            kept = client.crowd(40, port)
            run.see(f"resumed, {version.name}", client.return_of(kept, port), 40)
        client = Client(TLS12)
        kept, soon = client.crowd(20, port12), client.crowd(20, short)
        wait_past(time.time(), 1)
        run.see("resumed after their time", client.return_of(soon, short), 0)
        reload(nginx)
        run.see("resumed after a reload", client.return_of(kept, port12), after_reload)
        run.weigh(nginx)
        restart(run, nginx, client, port12)
    return play


def reload(nginx: Server) -> None:
    before = nginx.children()
    nginx.signal(signal.SIGHUP)
    wait_until(lambda: (now := nginx.children()) and not now & before, "new workers")


def reload_builtin(run: Run) -> None:
    port = free_port()
    nginx = start(run, "builtin:5000", server(port, "TLSv1.2 TLSv1.3"), [port])
    for version in TLS12, TLS13:
        client = Client(version)
        for turn in range(3):
            kept = client.crowd(20, port)
            run.see(f"resumed, {version.name}, reloaded {turn} times", client.return_of(kept, port), 20)
            reload(nginx)
            run.see(f"resumed after reload {turn + 1}, {version.name}", client.return_of(kept, port), 0)
    run.weigh(nginx)
    restart(run, nginx, client, port)


def names(run: Run) -> None:
    """Two servers behind one port, told apart by SNI. The context that a connection begins with is the first
    one's, and its cache is the one in use."""
    other = Certificate.make(run.folder, "other")
    port = free_port()
    nginx = start(run, "builtin:5000", server(port, "TLSv1.2 TLSv1.3", "server_name one;") +
                  server(port, "TLSv1.2 TLSv1.3", "server_name two; ssl_certificate "
                         f"{other.certificate}; ssl_certificate_key {other.key};"), [port])
    for version in TLS12, TLS13:
        client = Client(version)
        for first in "one", "two":
            for then in "one", "two":
                sessions = [client.visit(port, name=first).session for _ in range(10)]
                got = sum(client.visit(port, session, then).resumed for session in sessions)
                # To change the name is refused by TLS 1.2's rules; what else nginx does is its own affair.
                run.see(f"resumed, {version.name}, {first} then {then}", got, 10 if first == then else ANY)
    run.weigh(nginx)
    restart(run, nginx, client, port)


def workers(run: Run) -> None:
    """Each worker has a builtin cache of its own: a session is resumed if and only if the connection meets the
    worker that it comes from, which each answer tells. The kernel spreads connections over the workers."""
    port, number = free_port(), 3
    nginx = start(run, "builtin:5000", server(port, "TLSv1.2 TLSv1.3", listen="reuseport"), [port], number)
    for version in TLS12, TLS13:
        client = Client(version)
        met: set[str] = set()
        pairs: set[tuple[bool, bool]] = set()
        for _ in range(400):
            first = client.visit(port)
            again = client.visit(port, first.session)
            met |= {first.text, again.text}
            pairs.add((first.text == again.text, again.resumed))
            if len(met) == number and len(pairs) > 1:
                break
        run.see(f"workers met, {version.name}", len(met), number)
        run.see(f"(same worker, resumed), {version.name}", sorted(pairs), [(False, False), (True, True)])
    run.weigh(nginx)
    run.see("exit status", nginx.stop(), 0)


def tickets(cache: str) -> Callable[[Run], None]:
    """With tickets on, and SNI, by which nginx takes away what the other context does not have."""
    def play(run: Run) -> None:
        run.options = STATEFUL
        port = free_port()
        both = server(port, "TLSv1.2 TLSv1.3", "server_name one;") + server(port, "TLSv1.2 TLSv1.3", "server_name two;")
        nginx = start(run, cache, both, [port], tickets="on")
        client = Client(TLS13)
        for name in "one", "two":
            sessions = [client.visit(port, name=name).session for _ in range(10)]
            run.see(f"resumed, {name}", sum(client.visit(port, session, name).resumed for session in sessions), 10)
        run.weigh(nginx)
        run.see("exit status", nginx.stop(), 0)
    return play


SCENARIOS = [
    Scenario(NGINX, "builtin, stateful tickets", tickets("builtin:5000"), stateful),
    # Its default stores nothing, and with a cache of its own it has ticket keys of its own.
    Scenario(NGINX, "none, stateful tickets", tickets("none"), nothing_stored),
    Scenario(NGINX, "builtin", builtin, flushed(20)),
    Scenario(NGINX, "shared", shared_with("shared:one:1m", 20), nothing_stored),
    # A worker that ends frees its contexts; libssl calls back for each session in them, and nginx then
    # takes it out of the shared cache.
    Scenario(NGINX, "builtin and shared", shared_with("builtin:5000 shared:one:1m", 0), stored),
    Scenario(NGINX, "builtin, reload", reload_builtin, stored),
    Scenario(NGINX, "builtin, two names", names, stored),
    Scenario(NGINX, "builtin, three workers", workers, stored),
]
