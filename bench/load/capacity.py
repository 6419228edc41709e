#!/usr/bin/env python3
"""capacity.py LIB: how many handshakes a server makes on one processor, and how long they take, while its cache is full: on
libssl alone ("stock") and with sslsweep's library LIB preloaded, in turns. The server has the first processor for itself, the
clients have the others. Options by environment:

  SERVERS="nginx threads"     Debian's nginx with a builtin cache; the server of `make load`
  SIZES="20000 1000000"       sessions in the cache
  ROUNDS=3                    runs of each side
  SECONDS=2                   of each of the two measurements of one kind of handshake
  LIBSSL="system"             which libssl, for the server of `make load`; nginx has the system's

A cache is filled to its size, so each session that is stored afterwards takes the place of another one. Then, for each kind of
handshake: as many connections as CLOSED clients get through (the handshakes for each second of the server's own processor time,
so that neither the clients nor other programs limit it); and RATE connections a second, at moments fixed beforehand."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import libraries  # noqa: E402
import load  # noqa: E402
import servers  # noqa: E402
from results import spread  # noqa: E402
from support import Certificate, family, free_port, listening, wait_until  # noqa: E402

FOLDER = load.FOLDER
VISITOR, TICKETS, LOG = FOLDER / "visitor", FOLDER / "tickets.so", FOLDER / "server.log"
KINDS = ("12 full", "12 resumed", "13 full", "13 resumed")
FIGURES = {"rate": ("handshakes a second of processor time", 1), "p50": ("p50, ms", 1e6), "p99": ("p99, ms", 1e6)}
RATE = 1000
TICKETS_EACH = 100  # while nginx's cache is filled
LIFETIME = 86_400
PROCESSORS = sorted(os.sched_getaffinity(0))


class Settings:
    def __init__(self) -> None:
        def words(name: str, default: str) -> list[str]:
            return (os.environ.get(name) or default).split()

        self.servers = words("SERVERS", "nginx threads")
        self.sizes = sorted(map(int, words("SIZES", "20000 1000000")))
        self.rounds, self.seconds = int(words("ROUNDS", "3")[0]), int(words("SECONDS", "2")[0])
        self.libssl = words("LIBSSL", libraries.SYSTEM)
        unknown = set(self.servers) - set(SERVERS)
        if unknown or not self.sizes or self.sizes[0] < TICKETS_EACH * 4 or min(self.rounds, self.seconds) < 1:
            sys.exit(f"load: SERVERS are of {' '.join(SERVERS)}, SIZES are numbers from {TICKETS_EACH * 4} on, ROUNDS and SECONDS from 1 on")
        if len(PROCESSORS) < 2:
            sys.exit("load: two processors are needed, one for the server and one for its clients")

    def minutes(self, runs: int) -> float:
        each = len(KINDS) * (2 * self.seconds + 0.5)
        return self.rounds * 2 * runs * (each * len(self.sizes) + sum(self.sizes) * 1.5e-5) / 60


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """What is started now has the first processor for itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {PROCESSORS[0]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Running:
    port: int
    pid: int

    def worked(self) -> int:
        """Nanoseconds of processor time, of all its threads."""
        tasks = [task for pid in family(self.pid) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


@contextlib.contextmanager
def nginx(library: libraries.Library, lib: str | None, size: int) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="sslsweep-load.") as place:
        folder, port = pathlib.Path(place), free_port()
        folder.chmod(0o755)
        tickets = folder / "tickets"
        tickets.write_bytes(TICKETS_EACH.to_bytes(8, sys.byteorder) + bytes(8))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "SSLSWEEP_"))}
        environment |= servers.SERVERS["nginx"].program.environment()
        environment |= {"LD_PRELOAD": f"{lib or ''} {TICKETS}".strip(), "TICKETS": str(tickets), "SSLSWEEP_VERBOSE": "1"}
        words = servers.nginx_of(folder, Certificate.make(folder, "localhost"), port, size, LIFETIME)
        with LOG.open("w") as file, alone():
            process = subprocess.Popen(
                [servers.SERVERS["nginx"].program.path(), *words], env=environment, stdout=file, stderr=file
            )
        try:
            wait_until(lambda: listening(port), "nginx listening")
            # A little more than it holds, because the fillers share the number among them.
            visitor("fill", port, size + 4 * TICKETS_EACH, TICKETS_EACH)
            with tickets.open("r+b") as file:  # nginx has mapped this very file
                filled = int.from_bytes(file.read()[8:], sys.byteorder)
                file.seek(0)
                file.write(bytes(8))
            must_be_full("nginx", filled, size)
            yield Running(port, process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextlib.contextmanager
def threads(library: libraries.Library, lib: str | None, size: int) -> Iterator[Running]:
    with alone():
        server = load.Server(library, lib)
    try:
        server.tell(f"fill {size}", "filled")
        yield Running(int(server.port), server.process.pid)
        must_be_full("the server", server.counts()["number"], size)
        server.end()
    finally:
        server.kill()


SERVERS = {"nginx": nginx, "threads": threads}


def must_be_full(server: str, held: int, size: int) -> None:
    if not size * 0.95 <= held <= size:
        sys.exit(f"load: {server} holds {held} sessions, not {size}")


def visitor(*words: object) -> None:
    done = subprocess.run([VISITOR, *map(str, words)], check=False, timeout=600)
    if done.returncode != 0:
        sys.exit(f"load: visitor {words[0]} ended with {done.returncode}")


def measure(server: Running, kind: str, seconds: int) -> dict[str, float]:
    client = subprocess.Popen(
        [VISITOR, "measure", str(server.port), *kind.split()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def ask(rate: int) -> list[int]:
        client.stdin.write(f"{rate} {seconds}\n")
        client.stdin.flush()
        said = [int(word) for word in client.stdout.readline().split()]
        if len(said) != 6 or said[-1] != 0:
            sys.exit(f"load: {kind}: connections failed, or were resumed where they should not be, or the reverse: {said}")
        return said

    try:
        if client.stdout.readline() != "ready\n":
            sys.exit(f"load: {kind}: the client could not prepare itself")
        before = server.worked()
        count = ask(0)[0]
        worked = server.worked() - before
        _, _, p50, p99, _, _ = ask(RATE)
    finally:
        client.stdin.close()
        client.wait(timeout=60)
    return {"rate": count * 1e9 / worked, "p50": p50, "p99": p99}


def one_run(name: str, library: libraries.Library, lib: str | None, size: int, settings: Settings) -> dict[str, dict[str, float]]:
    with SERVERS[name](library, lib, size) as server:
        held = {kind: measure(server, kind, settings.seconds) for kind in KINDS}
    if ("took over" in LOG.read_text()) != bool(lib):
        sys.exit(f"load: sslsweep was not in force, or on the wrong side, in {name}")
    return held


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib, settings = str(pathlib.Path(sys.argv[1]).resolve()), Settings()
    FOLDER.mkdir(parents=True, exist_ok=True)
    compiler = [*libraries.compiler(), "-std=c11", "-D_DEFAULT_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run([*compiler, "-o", VISITOR, HERE / "servers" / "visitor.c", "-lssl", "-lcrypto"], check=True)
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", TICKETS, HERE / "servers" / "tickets.c", "-lssl", "-ldl"], check=True)
    found = libraries.prepare(settings.libssl, FOLDER, load.sources())
    if any(library.peer for library in found):
        sys.exit("load: of peers there is nothing to compare")
    about = load.described("load-capacity", ("SERVERS", "SIZES", "ROUNDS", "SECONDS", "LIBSSL"), found) | {
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "rate": RATE,
    }
    which = [(name, library) for name in settings.servers for library in (found if name == "threads" else found[:1])]
    if "nginx" in settings.servers:
        about["nginx"] = servers.SERVERS["nginx"].program.version()
    print(f"load: about {settings.minutes(len(which)):.0f} min", flush=True)
    os.sched_setaffinity(0, PROCESSORS[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("load: terminated"))  # with its servers
    samples: dict = {}
    for turn in range(settings.rounds):
        for size in settings.sizes:
            for name, library in which:
                for side in load.SIDES if turn % 2 == 0 else reversed(load.SIDES):
                    began = time.monotonic()
                    held = one_run(name, library, lib if side == "sslsweep" else None, size, settings)
                    where = samples.setdefault(name, {}).setdefault(
                        libraries.SYSTEM if name == "nginx" else library.name, {}
                    )
                    for kind, figures in held.items():
                        for figure, value in figures.items():
                            place = where.setdefault(str(size), {}).setdefault(kind, {}).setdefault(figure, {})
                            place.setdefault(side, []).append(value)
                    rates = ", ".join(f"{kind} {figures['rate']:.0f}" for kind, figures in held.items())
                    print(
                        f"round {turn + 1}: {name}, {library.name}, {size:,}, {side}: {rates} ({time.monotonic() - began:.0f} s)",
                        flush=True,
                    )
        about["load at the end"] = round(os.getloadavg()[0], 2)
        (FOLDER / "capacity.json").write_text(json.dumps({"about": about, "samples": samples}) + "\n")
    for name, held in samples.items():
        for library, sizes in held.items():
            for size, kinds in sizes.items():
                print(f"\n{name}, {library}, {int(size):,} sessions")
                for kind, figures in kinds.items():
                    for figure, sides in figures.items():
                        words, scale = FIGURES[figure]
                        cells = (f"{side} {spread([value / scale for value in sides[side]]):<24}" for side in load.SIDES)
                        print(f"  TLS 1.{kind[1:]:<11}{words:<40}{''.join(cells)}")
    print("Written: build/load/capacity.json. make load-report puts it into docs/load.md")


if __name__ == "__main__":
    main()
