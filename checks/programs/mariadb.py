"""MariaDB: one context for all connections, whose TLS begins after a greeting in the clear."""

from __future__ import annotations

import os
import pathlib
import socket
import ssl
import struct

from support import TLS12, Client, Program, Run, Scenario, Server, free_port, restart, stored

MARIADB = Program("mariadbd", "--version")

# Capabilities: the protocol of 4.1, TLS, and its kind of password.
LOGIN = struct.pack("<IIB23x", 0x200 | 0x800 | 0x8000, 1 << 24, 33)


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def receive(connection: socket.socket) -> bytes:
    def exactly(number: int) -> bytes:
        data = b""
        while len(data) < number:
            block = connection.recv(number - len(data))
            if not block:
                raise ConnectionError("the server has ended the connection")
            data += block
        return data
    return exactly(int.from_bytes(exactly(4)[:3], "little"))


def begin(plain: socket.socket) -> None:
    receive(plain)  # the server's greeting
    plain.sendall(packet(1, LOGIN))


def query(connection: ssl.SSLSocket) -> str:
    connection.sendall(packet(2, LOGIN + b"root\0\0"))
    if receive(connection)[0] != 0:
        return "not let in"
    connection.sendall(packet(0, b"\3select concat('hel', 'lo')"))
    answer = b"".join(receive(connection) for _ in range(5))  # columns, one column, its end, one row, the end
    connection.sendall(packet(0, b"\1"))  # quit
    return "hello" if b"\5hello" in answer else repr(answer)


def start(run: Run, port: int) -> Server:
    (run.folder / "data").mkdir()
    messages = (MARIADB.tree() or pathlib.Path("/")) / "usr/share/mysql"
    user = ["--user=root"] if os.geteuid() == 0 else []
    return run.start(MARIADB, "--no-defaults", *user, f"--datadir={run.folder}/data", f"--lc-messages-dir={messages}",
                     "--skip-grant-tables", "--skip-networking=0", f"--port={port}", "--bind-address=127.0.0.1",
                     f"--socket={run.folder}/socket", f"--pid-file={run.folder}/pid", "--innodb-log-file-size=4M",
                     # A new folder is made at each first start, which waits for the disk.
                     "--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite",
                     f"--ssl-cert={run.certificate.certificate}", f"--ssl-key={run.certificate.key}", ports=[port])


def play(run: Run) -> None:
    port = free_port()
    server = start(run, port)
    client = Client(TLS12, query, begin)
    kept = client.crowd(40, port)
    run.see("resumed", client.return_of(kept, port), 40)
    run.see("answer of a resumed connection", client.visit(port, kept[0]).text, "hello")
    run.weigh(server)
    restart(run, server, client, port)


SCENARIOS = [Scenario(MARIADB, "one context", play, stored)]
