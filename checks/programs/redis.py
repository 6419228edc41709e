"""redis-server: sessions with a size and a timeout, and a new context whenever its TLS settings change."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

from support import (STATEFUL, TLS12, TLS13, Client, Program, Run, Scenario, Server, flushed, free_port, restart,
                     stateful, stored, wait_past)

REDIS = Program("redis-server", "--version")


def command(*words: str) -> Callable[[ssl.SSLSocket], str]:
    """The client says QUIT, because redis says goodbye by TLS only then; and without a goodbye of the server
    libssl throws the session away."""
    def talk(connection: ssl.SSLSocket) -> str:
        connection.sendall((" ".join(words) + "\r\nQUIT\r\n").encode())
        text = b""
        while block := connection.recv(65536):
            text += block
        return text.decode().replace("\r\n", " ").strip()
    return talk


def start(run: Run, port: int, size: int, timeout: int) -> Server:
    return run.start(REDIS, "--bind", "127.0.0.1", "--port", "0", "--tls-port", port, "--dir", run.folder, "--save", "",
                     "--tls-cert-file", run.certificate.certificate, "--tls-key-file", run.certificate.key,
                     "--tls-ca-cert-file", run.certificate.certificate, "--tls-auth-clients", "no",
                     "--tls-session-cache-size", size, "--tls-session-cache-timeout", timeout, ports=[port])


def reconfigured(run: Run) -> None:
    port = free_port()
    redis = start(run, port, 5000, 300)
    client = Client(TLS12, command("PING"))
    kept = client.crowd(50, port)
    run.see("resumed", client.return_of(kept, port), 50)
    run.weigh(redis)
    # Each of these makes a new context, and frees the former with the sessions in it.
    for size in 4000, 10:
        setting = Client(TLS12, command("CONFIG", "SET", "tls-session-cache-size", str(size)))
        run.see(f"answer to CONFIG SET {size}", setting.visit(port).text, "+OK +OK")
        run.see(f"resumed after CONFIG SET {size}", client.return_of(kept, port), 0)
    # Now there is room for ten (libssl's: nine).
    kept = client.crowd(12, port)
    run.see("the oldest resumed", client.visit(port, kept[0]).resumed, False)
    run.see("the newest resumed", client.return_of(kept[-5:], port), 5)
    # With one place less, libssl has one reason more to make room, and finds one session less.
    restart(run, redis, client, port, uncounted=("number", "full"))


def expiring(run: Run) -> None:
    port = free_port()
    redis = start(run, port, 5000, 1)
    client = Client(TLS12, command("PING"))
    soon = client.crowd(40, port)
    wait_past(time.time(), 1)
    run.see("resumed after their time", client.return_of(soon[:20], port), 0)
    client.crowd(260, port)
    run.see("resumed after a flush", client.return_of(soon[20:], port), 0)
    run.weigh(redis)
    run.see("exit status", redis.stop(), 0)
    run.see("counters", {k: v for k, v in run.counters().items() if k != "number"})


def tickets(run: Run) -> None:
    run.options = STATEFUL
    port = free_port()
    redis = start(run, port, 5000, 300)
    client = Client(TLS13, command("PING"))
    run.see("resumed", client.return_of(client.crowd(30, port), port), 30)
    run.weigh(redis)
    run.see("exit status", redis.stop(), 0)


SCENARIOS = [
    Scenario(REDIS, "stateful tickets", tickets, stateful),
    Scenario(REDIS, "size, settings changed", reconfigured, stored),
    Scenario(REDIS, "timeout", expiring, flushed(20)),
]
