#!/usr/bin/env python3
"""prefork.py [options] PORT...: a prefork server of Python's ssl module, as frameworks have them. The parent forks
children that accept on the same sockets, and replaces those that are killed. With several ports, each process has a
thread and a context for each.

  --children N           how many
  --name NAME CERT KEY   a server name with its certificate; the first is also for clients that name none. With
                         several, a servername callback chooses the context
  --tickets              as Python has it; otherwise OP_NO_TICKET
  --late                 contexts are made in the children, not before the fork
  --drop FOLDER          each child changes its root to FOLDER and its user to nobody, then serves
  --address ADDRESS      where they listen, if not on loopback
  --hello                each child writes its number in the clear before TLS begins

A request's path may be /abrupt, to end without a goodbye, or /flush, to flush all sessions of the context first. The
answer is the number of the process and the name that was served."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import ssl
import sys
import threading


def pointer(context: ssl.SSLContext) -> int:
    """Its SSL_CTX, which is the first thing behind the head of the object."""
    return ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value or 0


class Service:
    """A context for each name."""

    def __init__(self, options: argparse.Namespace):
        self.contexts: dict[str, ssl.SSLContext] = {}
        for name, certificate, key in options.name:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            if not options.tickets:
                context.options |= ssl.OP_NO_TICKET
            self.contexts[name] = context
        self.first = next(iter(self.contexts.values()))
        self.hello = options.hello
        if len(self.contexts) > 1:
            self.first.sni_callback = self.choose

    def choose(self, connection: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name in self.contexts:
            connection.context = self.contexts[name]

    def serve(self, listener: socket.socket) -> None:
        while True:
            plain = listener.accept()[0]
            plain.settimeout(60)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the goodbye waits for the answer's arrival
            try:
                self.answer(plain)
            except OSError:  # the client has gone, or has been refused
                pass
            finally:
                plain.close()

    def answer(self, plain: socket.socket) -> None:
        if self.hello:
            plain.sendall(f"{os.getpid()}\n".encode())
        connection = self.first.wrap_socket(plain, server_side=True, suppress_ragged_eofs=True)
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            block = connection.recv(4096)
            if not block:
                return
            request += block
        path = request.split()[1]
        if path == b"/flush":
            ctypes.CDLL(None).SSL_CTX_flush_sessions(ctypes.c_void_p(pointer(self.first)), ctypes.c_long(0))
        name = next(name for name, context in self.contexts.items() if context is connection.context)
        connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{os.getpid()} {name}".encode())
        if path == b"/abrupt":
            connection.close()  # Python frees its SSL before it closes the socket
        else:
            connection.unwrap().close()


def child(options: argparse.Namespace, listeners: list[socket.socket], services: list[Service]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if options.late:
        services = [Service(options) for _ in listeners]
    if options.drop:
        os.chroot(options.drop)
        os.chdir("/")
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    threads = [threading.Thread(target=service.serve, args=(listener,), daemon=True)
               for service, listener in zip(services[1:], listeners[1:])]
    for thread in threads:
        thread.start()
    services[0].serve(listeners[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=int, default=2)
    parser.add_argument("--name", nargs=3, action="append", required=True)
    parser.add_argument("--tickets", action="store_true")
    parser.add_argument("--late", action="store_true")
    parser.add_argument("--drop")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--hello", action="store_true")
    parser.add_argument("ports", type=int, nargs="+")
    options = parser.parse_args()
    listeners = [socket.create_server((options.address, port), backlog=128) for port in options.ports]
    services = [] if options.late else [Service(options) for _ in listeners]
    running: set[int] = set()

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            child(options, listeners, services)
        running.add(pid)

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in running:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
        ends = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in running}
        raise SystemExit(f"children ended with {ends}" if any(ends.values()) else 0)

    signal.signal(signal.SIGTERM, end)
    for _ in range(options.children):
        fork()
    while True:
        running.discard(os.wait()[0])
        fork()


if __name__ == "__main__":
    main()
