"""h2o: a thread of its own flushes libssl's internal cache."""

from __future__ import annotations

import os

from support import (TLS12, TLS13, Client, Program, Run, Scenario, free_port, holds, restart, wait_until)

H2O = Program("h2o", "--version")

# Its thread flushes after every quarter of the lifetime, and without a pause if that is below one second.
LIFETIME = 4


def play(run: Run) -> None:
    port = free_port()
    (run.folder / "files").mkdir()
    run.write("files/index.html", "ok")
    conf = run.write("h2o.conf", f"""
{"user: root" if os.geteuid() == 0 else ""}
num-threads: 2
ssl-session-resumption: {{mode: cache, cache-store: internal, lifetime: {LIFETIME}}}
listen:
  host: 127.0.0.1
  port: {port}
  ssl:
    certificate-file: {run.certificate.certificate}
    key-file: {run.certificate.key}
    minimum-version: TLSv1.2
    ocsp-update-interval: 0
hosts:
  default:
    paths:
      /: {{file.dir: {run.folder}/files}}
""")
    h2o = run.start(H2O, "-c", conf, ports=[port])
    clients = {version: Client(version) for version in (TLS12, TLS13)}
    kept = {}
    for version, client in clients.items():
        first = client.visit(port)
        run.see(f"answer, {version.name}", first.text, "ok")
        run.see(f"resumed at once, {version.name}", client.visit(port, first.session).resumed, True)
        kept[version] = client.crowd(30, port)
    run.weigh(h2o)
    # By TLS 1.3 a full handshake leaves two tickets and a resumption one.
    stored = 31 + 2 * 31 + 1
    wait_until(lambda: run.flushed() >= stored, "the flush")
    run.see("flushed by its thread", run.flushed(), stored)
    # By TLS 1.3 a client knows the lifetime as well, and may not even ask.
    run.see("resumed after the flush", clients[TLS12].return_of(kept[TLS12], port), 0)
    restart(run, h2o, clients[TLS12], port, uncounted=("number",))


# It ends by _exit(), so that sslsweep has no last word.
SCENARIOS = [Scenario(H2O, "internal cache, own flush", play, holds)]
