#!/usr/bin/env python3
"""machines.py [LIB COMMAND]: nginx on two "machines", which have nothing in common but the certificate. With LIB preloaded and
COMMAND (sslsweep), each has a segment and an agent, and both agents use one engine (redis-server on loopback). By TLS 1.2
and by TLS 1.3 each of 20 clients connects to the first, and offers its session to the second. Prints how many were resumed
there, and how many of them at the first try. What the servers say goes to our standard error. Exits 77 when nginx or
redis-server is missing."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from workers import Client, certify, configured, find, free_ports, wait_for

CLIENTS = 20
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)  # seconds between the rounds


class Processes(contextlib.ExitStack):
    """Processes that end, the last one first, when we do."""

    def start(self, command: list[object], environment: dict[str, str], end: int = signal.SIGTERM) -> subprocess.Popen:
        process = self.enter_context(subprocess.Popen([*map(str, command)], env=environment, stdout=sys.stderr))
        self.callback(process.send_signal, end)
        return process


def until(happened: object, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not happened():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(1)
        time.sleep(0.05)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def machine(processes: Processes, folder: pathlib.Path, sharing: tuple[str, str, int] | None) -> list[int]:
    """Two ports of an nginx, for TLS 1.2 and 1.3."""
    executable, environment = find("nginx")
    if sharing:
        library, command, engine = sharing
        segment, keys = folder / "segment", folder.parent / "keys"
        agent = processes.start([command, "shared", "--segment", f"{segment}:1m", "--upstream", f"redis://127.0.0.1:{engine}"],
                                find("nginx")[1])
        status = [command, "shared", "status", "--segment", segment]
        until(lambda: subprocess.run(status, capture_output=True, check=False).returncode == 0, agent)
        environment |= {"LD_PRELOAD": library, "SSLSWEEP_VERBOSE": "1", "SSLSWEEP_SHARE": f"host:{segment}:1m",
                        "SSLSWEEP_SHARE_KEY": str(keys), "SSLSWEEP_SHARE_WAIT": "20"}
    ports = free_ports()
    nginx = processes.start(configured(executable, folder, 1, *ports), environment, signal.SIGQUIT)
    wait_for(nginx, folder, 1)
    return ports


def rounds(clients: list[Client], port: int) -> list[int]:
    """How many were resumed there in each round. Those who were not come again, with the session of the first machine."""
    resumed, waiting = [], [(client, client.session) for client in clients]
    for pause in (*PAUSES, 0):
        again = []
        for client, session in waiting:
            client.session, client.port = session, port
            if not client.is_resumed():
                again.append((client, session))
        resumed.append(len(waiting) - len(again))
        waiting = again
        if not waiting:
            break
        time.sleep(pause)
    return resumed


def main() -> None:
    if len(sys.argv) not in (1, 3):
        sys.exit(__doc__)
    redis, environment = find("redis-server")
    with tempfile.TemporaryDirectory() as name, Processes() as processes:
        top = pathlib.Path(name)
        folders = [top / "one", top / "two"]
        for folder in folders:
            folder.mkdir()
        certify(folders[0])
        for file in ("key.pem", "cert.pem"):
            (folders[1] / file).write_bytes((folders[0] / file).read_bytes())
        sharing = None
        if sys.argv[1:]:
            library, command = sys.argv[1:]
            engine = free_ports()[0]
            subprocess.run([command, "share-key", "new", top / "keys"], check=True, stdout=sys.stderr)
            server = processes.start([redis, "--port", engine, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                      "--dir", top], environment)
            until(lambda: answers(engine), server)
            sharing = library, command, engine
        ports = [machine(processes, folder, sharing) for folder in folders]
        for step, here, there in zip(("tls12_machines", "tls13_machines"), *ports):
            for port in here, there:  # a server resumes sessions of others under a name that it has met once
                Client(port).is_resumed()
            clients = [Client(here) for _ in range(CLIENTS)]
            for client in clients:
                client.is_resumed()
            resumed = rounds(clients, there)
            print(f"step={step} resumed={sum(resumed)} at_once={resumed[0]} connections={CLIENTS}", flush=True)


if __name__ == "__main__":
    main()
