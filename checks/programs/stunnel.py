"""stunnel: a server and a client in one process, and libssl's counters in its log."""

from __future__ import annotations

import socketserver
import threading
import time

from support import TLS12, TLS13, Client, Program, Run, Scenario, flushed, free_port, restart, wait_past

STUNNEL = Program("stunnel4", "-version")


class Answer(socketserver.StreamRequestHandler):
    """What is behind the server: one line, one answer."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nok")


def play(run: Run) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as behind:
        thread = threading.Thread(target=behind.serve_forever)
        thread.start()
        try:
            visits(run, behind.server_address[1])
        finally:
            behind.shutdown()
            thread.join()


def visits(run: Run, behind: int) -> None:
    port, short, plain = free_port(), free_port(), free_port()
    conf = run.write("stunnel.conf", f"""
foreground = yes
syslog = no
pid =
debug = debug
[server]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{behind}
cert = {run.certificate.both}
options = NO_TICKET
sessionCacheSize = 5000
[short]
accept = 127.0.0.1:{short}
connect = 127.0.0.1:{behind}
cert = {run.certificate.both}
options = NO_TICKET
sessionCacheTimeout = 1
[client]
client = yes
accept = 127.0.0.1:{plain}
connect = 127.0.0.1:{port}
""")
    stunnel = run.start(STUNNEL, conf, ports=[port, short, plain])
    for version in TLS12, TLS13:
        client = Client(version)
        run.see(f"resumed, {version.name}", client.return_of(client.crowd(40, port), port), 40)
    client = Client(TLS12)
    soon = client.crowd(40, short)
    wait_past(time.time(), 1)
    run.see("resumed after their time", client.return_of(soon[:20], short), 0)
    client.crowd(260, short)
    run.see("resumed after a flush", client.return_of(soon[20:], short), 0)
    run.weigh(stunnel)
    restart(run, stunnel, client, port, uncounted=("number",))


SCENARIOS = [Scenario(STUNNEL, "server and client", play, flushed(20))]
