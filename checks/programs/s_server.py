"""openssl s_server: prints libssl's counters when asked by an S on its standard input, and takes 0-RTT data."""

from __future__ import annotations

import pathlib
import re
import ssl
import subprocess
from collections.abc import Callable

from support import (PATIENCE, TLS12, TLS13, Client, Program, Run, Scenario, Server, free_port, stored, wait_until)

OPENSSL = Program("openssl", "version")


def start(run: Run, port: int, *more: str) -> Server:
    return run.start(OPENSSL, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", run.certificate.certificate,
                     "-key", run.certificate.key, *more, ports=[port])


def type_in(server: Server, text: str) -> None:
    assert server.process.stdin
    server.process.stdin.write(text.encode())
    server.process.stdin.flush()


def new_output(run: Run) -> Callable[[], str]:
    begin = run.output.stat().st_size
    return lambda: run.output.read_bytes()[begin:].decode(errors="replace")


def typing(run: Run, server: Server, last: str | None = None) -> Callable[[ssl.SSLSocket], str]:
    """What a client does on its connection: it writes a line and waits for one that is typed at the server, before
    which come its tickets; then for the end, where the server is told to quit. Nothing is typed before the server
    has shown the client's line, because it would take it up before the handshake is over."""
    def talk(connection: ssl.SSLSocket) -> str:
        said = new_output(run)
        connection.sendall(b"Is anybody there?\n")
        wait_until(lambda: "anybody" in said(), "the client's line")
        type_in(server, "hello\n")
        text = connection.recv(100).decode()
        if last:
            type_in(server, last)
            connection.recv(100)
        return text
    return talk


def quit_by(version: ssl.TLSVersion, run: Run, server: Server, port: int, occasion: str = "") -> None:
    run.see(f"answer{occasion}", Client(version, typing(run, server, "Q\n")).visit(port).text, "hello\n")
    run.see(f"exit status{occasion}", server.wait(), 0)


def statistics(run: Run) -> None:
    port = free_port()
    server = start(run, port, "-no_ticket")
    for version in TLS12, TLS13:
        client = Client(version, typing(run, server))
        run.see(f"resumed, {version.name}", client.return_of(client.crowd(20, port), port), 20)
        shown: dict[str, int] = {}

        def ask(connection: ssl.SSLSocket) -> str:
            text = typing(run, server)(connection)
            said = new_output(run)
            type_in(server, "S\n")

            def complete() -> bool:
                connection.sendall(b".\n")  # what it then writes flushes its output
                return "cache full overflows" in said()
            wait_until(complete, "the statistics")
            shown.update((name, int(n)) for n, name in re.findall(r"^ *(\d+) (\w[\w ]*\w)", said(), re.M))
            return text
        Client(version, ask).visit(port)
        run.see(f"statistics, {version.name}", shown)
        run.need(f"20 hits or more: {shown}", shown.get("session cache hits", 0) >= 20)
    run.weigh(server)
    quit_by(TLS12, run, server, port)
    run.see("counters", run.counters())


def s_client(run: Run, port: int, session: pathlib.Path, early: str | None = None) -> str:
    """What the client says. It stays until it has a new ticket in `session`.new."""
    new = session.with_suffix(".new")
    new.unlink(missing_ok=True)
    command = [OPENSSL.path(), "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-sess_out", str(new)]
    if session.exists():
        command += ["-sess_in", str(session)]
    if early:
        command += ["-early_data", early]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        try:
            wait_until(lambda: new.exists() and "END SSL SESSION" in new.read_text(), "a ticket")
            return client.communicate(timeout=PATIENCE)[0].decode(errors="replace")
        finally:
            client.kill()


def outcome(run: Run, port: int, session: pathlib.Path, early: str) -> tuple[str, str]:
    """The handshake, and what became of the early data."""
    text = s_client(run, port, session, early)
    handshake = re.search(r"^(New|Reused), TLS", text, re.M)
    data = re.search(r"^Early data was (\w+)", text, re.M)
    return handshake[1] if handshake else text, data[1] if data else text


def taken(run: Run) -> None:
    """Each ticket that was accepted left the cache for it."""
    stored(run)
    run.need(f"6 taken out: {run.ours()}", run.ours()["removed"] >= 6)


def early_data(run: Run) -> None:
    port = free_port()
    server = start(run, port, "-tls1_3", "-early_data", "-max_early_data", "1000")
    early = run.write("early", "only once\n")
    for turn in range(3):
        session = run.folder / f"session{turn}"
        s_client(run, port, session)
        session.with_suffix(".new").rename(session)
        run.see(f"{turn}: 0-RTT", outcome(run, port, session, early), ("Reused", "accepted"))
        successor = session.with_suffix(".new").rename(run.folder / f"successor{turn}")
        run.see(f"{turn}: replayed", outcome(run, port, session, early)[1], "rejected")
        run.see(f"{turn}: replayed once more", outcome(run, port, session, early)[1], "rejected")
        run.see(f"{turn}: 0-RTT with the next ticket", outcome(run, port, successor, early), ("Reused", "accepted"))
    run.weigh(server)
    quit_by(TLS13, run, server, port)
    run.see("times that the server had the data", run.output.read_text(errors="replace").count("only once"), 6)
    server.start()
    run.see("0-RTT after the restart", outcome(run, port, successor, early)[1], "rejected")
    quit_by(TLS13, run, server, port, " at the end")
    run.see("counters", run.counters())


SCENARIOS = [
    Scenario(OPENSSL, "s_server, statistics", statistics, stored),
    Scenario(OPENSSL, "s_server, 0-RTT", early_data, taken),
]
