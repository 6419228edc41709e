"""What the tests of sharing have beside those of real programs (checks/programs/support.py): a scenario of one side
with its promises, a client that tells whom it met, and a choice of the process that it meets."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import re
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "programs"))

from support import (PATIENCE, ROOT, TLS12, TLS13, Certificate, Client, Failure, Program,  # noqa: E402,F401
                     Run, Server, free_port, http, wait_until)
from scenarios import Findings, Scenario  # noqa: E402,F401

VERSIONS = (TLS12, TLS13)
PROMISES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11")


@dataclasses.dataclass(frozen=True)
class Copy(Program):
    """A program in another place, or by another name, with what else it needs in its environment."""
    file: str = ""
    more: tuple[tuple[str, str], ...] = ()

    def path(self) -> str:
        return self.file

    def environment(self) -> dict[str, str]:
        return super().environment() | dict(self.more)

    @staticmethod
    def of(program: Program, file: pathlib.Path | str, **more: str) -> Copy:
        return Copy(program.executable, program.version_option, str(file), tuple(more.items()))


PYTHON = Copy("python3", "--version", os.path.realpath(sys.executable))
PREFORK = pathlib.Path(__file__).with_name("prefork.py")


class Site(Run, Findings):
    """A scenario: its servers, and what was found."""

    promises = PROMISES

    def __init__(self, folder: pathlib.Path, lib: pathlib.Path, certificate: Certificate):
        Run.__init__(self, folder, lib, certificate)
        Findings.__init__(self)
        self.errors.touch()
        self._certificates: dict[str, Certificate] = {}

    def environment(self) -> dict[str, str]:
        """Of the servers that start from now on. sslsweep is the only library preloaded."""
        return {"LD_PRELOAD": str(self.lib), "SSLSWEEP_VERBOSE": "1"} | self.options

    def named(self, name: str) -> Certificate:
        """The certificate of this server name."""
        if name not in self._certificates:
            self._certificates[name] = Certificate.make(self.folder, name)
        return self._certificates[name]

    def family(self, size: str = "") -> None:
        self.options["SSLSWEEP_SHARE"] = "family" + (f":{size}" if size else "")

    def host(self, size: str = "1m") -> tuple[pathlib.Path, pathlib.Path]:
        """The segment's file, which is not there yet, and the file with its key."""
        folder = self.folder / "segment"
        folder.mkdir(exist_ok=True)
        segment, keys = folder / "sessions", folder / "keys"
        if not keys.exists():
            write_keys(keys, new_key())
        self.options["SSLSWEEP_SHARE"] = f"host:{segment}" + (f":{size}" if size else "")
        self.options["SSLSWEEP_SHARE_KEY"] = str(keys)
        return segment, keys

    def said(self) -> str:
        return self.errors.read_text(errors="replace")

    def at_the_end(self) -> tuple[str, bool, str]:
        return "no internal error", not self.internal_error(), "see standard error"

    def logs(self) -> Iterator[tuple[str, str]]:
        yield "servers", self.said()

    def messages(self) -> list[str]:
        """sslsweep's lines, without those that every start has."""
        return [line for line in self.said().splitlines() if line.startswith("sslsweep: ") and "took over" not in line
                and "SSL_CTX taken over" not in line and "sslsweep: sharing: " not in line]

    def figures(self) -> dict[str, int]:
        """What the processes that have ended by exit() said of sharing, by the words of the line: `fetched`, and
        reasons as `refused: trust`."""
        total: dict[str, int] = {}

        def add(name: str, number: str) -> None:
            total[name] = total.get(name, 0) + int(number)
        for line in re.findall(r"\bsharing: (\d.*)", self.said()):
            for number, kind, reasons in re.findall(r"(\d+) ([\w ]+?)(?: \(([^)]*)\))?(?:, |$)", line):
                add(kind, number)
                for count, reason in re.findall(r"(\d+) ([\w ]+)", reasons):
                    add(f"{kind}: {reason}", count)
        return total

    def prefork(self, children: int, *options: object, names: Sequence[str] = (), ports: int = 1,
                program: Program = PYTHON) -> tuple[Server, list[int]]:
        """Our small server: see prefork.py."""
        listening = [free_port() for _ in range(ports)]
        arguments: list[object] = [PREFORK, "--children", children, *options]
        for name in names or ("localhost",):
            certificate = self.named(name) if names else self.certificate
            arguments += ["--name", name, certificate.certificate, certificate.key]
        server = self.start(program, *arguments, *listening, ports=listening)
        wait_until(lambda: len(server.children()) == children, "the children")
        return server, listening


def new_key() -> str:
    return f"{os.urandom(4).hex()} {os.urandom(32).hex()}"


def write_keys(path: pathlib.Path, *lines: str) -> None:
    """In one step, as an operator should."""
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.chmod(0o600)
    new.write_text("".join(f"{line}\n" for line in lines))
    new.rename(path)


# Clients.


@dataclasses.dataclass(frozen=True)
class Met:
    """What a visit found: the process that served it, and the server name that this process believes to serve."""
    resumed: bool
    session: ssl.SSLSession
    process: int
    name: str


class Guest(Client):
    """A client of servers that answer with their process and name. With `tickets`, it leaves to the server what its
    tickets are."""

    def __init__(self, version: ssl.TLSVersion, tickets: bool = False):
        super().__init__(version, self.ask)
        self.paths = "/"
        if tickets:
            self.context.options &= ~ssl.OP_NO_TICKET

    def ask(self, connection: ssl.SSLSocket) -> str:
        return http(connection, self.paths, connection.server_hostname)

    def meet(self, port: int, session: ssl.SSLSession | None = None, name: str = "localhost", path: str = "/") -> Met:
        self.paths = path
        visit = self.visit(port, session, name)
        process, _, served = visit.text.partition(" ")
        if not process.isdecimal():
            raise Failure(f"an answer of another kind: {visit.text!r}")
        return Met(visit.resumed, visit.session, int(process), served.strip())


# Which process is met: all others are stopped. (That is a test in itself: nobody may wait for them.)


def state(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


@contextlib.contextmanager
def only(server: Server, process: int) -> Iterator[None]:
    others = server.children() - {process}
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        end = time.monotonic() + PATIENCE
        while not all(state(other) == "T" for other in others):  # at once, as a rule
            if time.monotonic() > end:
                raise Failure("a process does not stop")
            time.sleep(0.001)
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


class Tour:
    """Visits to chosen children of one server."""

    def __init__(self, server: Server, port: int, guest: Guest):
        self.server, self.port, self.guest = server, port, guest

    def at(self, process: int, session: ssl.SSLSession | None = None, name: str = "localhost", path: str = "/") -> Met:
        with only(self.server, process):
            met = self.guest.meet(self.port, session, name, path)
        if met.process != process:
            raise Failure(f"met {met.process} instead of {process}")
        return met

    def introduce(self, names: Sequence[str] = ("localhost",)) -> None:
        """A stranger visits each process under each name. (A process resumes sessions of others under a name only once
        it has seen what its servername callback makes of the name.)"""
        for process in sorted(self.server.children()):
            with only(self.server, process):
                for name in names:
                    self.guest.meet(self.port, name=name)

    def crossings(self, name: str = "localhost") -> list[tuple[int, int]]:
        """Pairs (of, at) of processes: a session of the first was resumed by the second."""
        found = []
        processes = sorted(self.server.children())
        for of in processes:
            session = self.at(of, name=name).session
            found += [(of, at) for at in processes if self.at(at, session, name).resumed]
        return found


def every_pair(server: Server) -> list[tuple[int, int]]:
    processes = sorted(server.children())
    return [(of, at) for of in processes for at in processes]


def within(server: Server) -> list[tuple[int, int]]:
    return [(process, process) for process in sorted(server.children())]


# Records in the file of a segment, by the layout of crates/segment/src/slots.

HEADER, SLOT = 8192, 512
NAME_AT, LENGTH_AT, RECORD_AT = 8, 40, 48
LIVE, DEAD = 2, 3


def slots(data: bytes, wanted: int) -> list[int]:
    """Where the slots of this state begin."""
    return [at for at in range(HEADER, len(data), SLOT) if int.from_bytes(data[at:at + 8], sys.byteorder) & 3 == wanted]


def shuffled(things: Sequence[int], rounds: int) -> list[int]:
    """Repeats each of them, in an order that is the same in every run."""
    order = list(things) * rounds
    random.Random(14).shuffle(order)
    return order
