"""What the tests of real programs share: finding a program, starting and stopping it as one of two sides, a
client that resumes, and what both sides must agree in."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterable

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "programs"

PATIENCE = 120  # seconds until something that should happen is given up: none that passes waits so long
MEMORY_FACTOR, MEMORY_EXTRA = 1.5, 16  # resident memory: at most so many times stock's, and MiB for each process


class Failure(Exception):
    """The scenario cannot go on."""


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {PATIENCE} seconds")
        time.sleep(0.02)


def wait_past(moment: float, seconds: int) -> None:
    """Until what was stored at the time `moment` with a timeout of so many seconds has expired for libssl, which
    counts whole seconds and keeps a session for all of its last one. A tenth more, because the clock of time()
    is some milliseconds late."""
    wait_until(lambda: time.time() > int(moment) + seconds + 1.1, "the clock")


# Programs: installed ones, or those that tools/setup.sh has unpacked.


@dataclasses.dataclass(frozen=True)
class Program:
    executable: str
    version_option: str

    def tree(self) -> pathlib.Path | None:
        """Where it was unpacked, unless it is installed."""
        unpacked = BUILD / "unpacked" / self.executable
        return None if self._installed() or not unpacked.is_dir() else unpacked

    def _installed(self) -> str | None:
        return shutil.which(self.executable, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def path(self) -> str:
        tree = self.tree()
        found = [self._installed()] if not tree else [str(p) for p in tree.glob(f"usr/*bin/{self.executable}")]
        if not found or not found[0]:
            raise Failure(f"no {self.executable}: tools/setup.sh programs gets it")
        return found[0]

    def environment(self) -> dict[str, str]:
        tree = self.tree()
        folders = [str(f) for f in (*tree.glob("usr/lib/*-linux-gnu*"), *tree.glob("lib/*-linux-gnu*"))] if tree else []
        return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}

    def version(self) -> str:
        # vsftpd writes its version to its standard input, which is a client's connection to it.
        read, write = os.pipe()
        done = subprocess.run([self.path(), self.version_option], env={**os.environ, **self.environment()},
                              stdin=write, stdout=write, stderr=write, timeout=PATIENCE, check=False)
        os.close(write)
        with os.fdopen(read, errors="replace") as text:
            said = text.read(4096)
        version = re.search(r"(\d+(\.\d+)+[a-z]?)", said)
        if not version:
            raise Failure(f"{self.executable} {self.version_option} (status {done.returncode}) says no version: {said}")
        return version[1]


# What a server of ours is like while it runs.


def _table() -> dict[int, int]:
    """Process: its parent."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if after_name[0] != "Z":
            parents[int(stat.parent.name)] = int(after_name[1])
    return parents


def family(pid: int) -> set[int]:
    parents = _table()
    found, before = {pid}, 0
    while len(found) != before:
        before = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def resident(pids: Iterable[int]) -> float:
    """MiB"""
    total = 0
    for pid in pids:
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        total += int((re.search(r"^VmRSS:\s+(\d+)", status, re.M) or [0, 0])[1])
    return total / 1024


def listening(port: int) -> bool:
    """Asked of the kernel, because a connection would be one more in the server's counters."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


_next_port = 20000 + os.getpid() * 7417 % 12000  # runs that begin one after the other are far apart


def free_port() -> int:
    """Below those that the kernel gives to clients, so that it is still free at the restart."""
    global _next_port
    while True:
        _next_port += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", _next_port))
            except OSError:
                continue
            return _next_port


def _end_with_us() -> None:
    """In a server before it starts: it ends when we do, however that comes."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Server:
    def __init__(self, run: Run, program: Program, arguments: list[str], ports: list[int], stop_by: int):
        self.run, self.program, self.arguments, self.ports, self.stop_by = run, program, arguments, ports, stop_by
        self.start()

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "SSLSWEEP_"))}
        environment |= self.program.environment() | self.run.environment()
        with open(self.run.errors, "ab") as errors, open(self.run.output, "ab") as output:
            self.process = subprocess.Popen([self.program.path(), *self.arguments], cwd=self.run.folder,
                                            env=environment, stdin=subprocess.PIPE, stdout=output, stderr=errors,
                                            preexec_fn=_end_with_us)
        self.pid = self.process.pid

        def ready() -> bool:
            if self.process.poll() is not None:
                raise Failure(f"{self.program.executable} ended at once: {self.process.returncode}")
            return all(listening(port) for port in self.ports)
        wait_until(ready, f"{self.program.executable} listening")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def children(self) -> set[int]:
        return family(self.pid) - {self.pid}

    def stop(self) -> int | str:
        """The exit status, or what it is instead."""
        if self.process.poll() is None:
            self.signal(self.stop_by)
        return self.wait()

    def wait(self) -> int | str:
        ours = family(self.pid) if self.process.poll() is None else set()
        try:
            status: int | str = self.process.wait(PATIENCE)
            wait_until(lambda: not ours & set(_table()), "the server's processes ending")
        except (subprocess.TimeoutExpired, Failure):
            status = "had to be killed"
            for pid in ours & set(_table()):
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        return status


# Clients.


@dataclasses.dataclass(frozen=True)
class Visit:
    resumed: bool
    session: ssl.SSLSession
    text: str


def http(connection: ssl.SSLSocket, path: str = "/", name: str = "localhost") -> str:
    connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
    text = b""
    while block := connection.recv(65536):
        text += block
    return text.partition(b"\r\n\r\n")[2].decode(errors="replace")


TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Client:
    """By TLS 1.2 without tickets, so that the server's cache is what resumes; by TLS 1.3 that is for the server
    to say."""

    def __init__(self, version: ssl.TLSVersion, talk: Callable[[ssl.SSLSocket], str] = http,
                 begin: Callable[[socket.socket], None] | None = None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.minimum_version = self.context.maximum_version = version
        self.context.options |= ssl.OP_NO_TICKET
        self.talk, self.begin = talk, begin

    def connect(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)

    def visit(self, port: int, session: ssl.SSLSession | None = None, name: str = "localhost") -> Visit:
        with self.connect(port) as plain:
            if self.begin:  # what comes before TLS
                self.begin(plain)
            with self.context.wrap_socket(plain, server_hostname=name, session=session,
                                          suppress_ragged_eofs=True) as connection:
                text = self.talk(connection)
                visit = Visit(bool(connection.session_reused), connection.session, text)
                try:
                    connection.unwrap()  # without it the server throws the session away
                except (OSError, ValueError):
                    pass  # it was faster
                return visit

    def invent(self, port: int) -> None:
        """Offers a session id that no server has made, by TLS 1.2, and leaves once it was looked up."""
        hello = (b"\x03\x03" + os.urandom(32) + b"\x20" + os.urandom(32) + b"\x00\x02\xc0\x2b\x01\x00"
                 + b"\x00\x10" + b"\x00\x0a\x00\x04\x00\x02\x00\x17" + b"\x00\x0d\x00\x04\x00\x02\x04\x03")
        message = b"\x01" + len(hello).to_bytes(3, "big") + hello
        with self.connect(port) as plain:
            plain.sendall(b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message)
            plain.recv(1)  # an answer of any kind

    def crowd(self, number: int, port: int) -> list[ssl.SSLSession]:
        return [self.visit(port).session for _ in range(number)]

    def return_of(self, sessions: list[ssl.SSLSession], port: int) -> int:
        """How many of them are resumed."""
        return sum(self.visit(port, session).resumed for session in sessions)


# One side of one scenario.

ANY = object()
OURS = re.compile(r"(\d+) SSL_CTX taken over; sessions: (\d+) stored, (\d+) found, (\d+) not found, (\d+) flushed in "
                  r"(\d+) batches, (\d+) evicted, (\d+) removed, (\d+) left")
OURS_NAMES = ("contexts", "stored", "found", "not_found", "flushed", "batches", "evicted", "removed", "left")


class Run:
    def __init__(self, folder: pathlib.Path, lib: pathlib.Path | None, certificate: Certificate):
        self.folder, self.lib, self.certificate = folder, lib, certificate
        folder.mkdir()
        folder.chmod(0o755)  # for servers that change their user
        self.errors, self.output, self.observed = folder / "stderr", folder / "stdout", folder / "observed"
        self.observed.touch()
        self.observed.chmod(0o666)
        self.seen: dict[str, object] = {}
        self.complaints: list[str] = []
        self.memory = 0.0
        self.processes = 1
        self.servers: list[Server] = []
        self.options: dict[str, str] = {}  # sslsweep's, for servers to be started

    def environment(self) -> dict[str, str]:
        """What its servers are started with."""
        environment = {"OBSERVE": str(self.observed), "LD_PRELOAD": str(BUILD / "observe.so")}
        if self.lib:
            environment["LD_PRELOAD"] += f":{self.lib}"
            environment |= {"SSLSWEEP_VERBOSE": "1", **self.options}
        return environment

    def see(self, label: str, got: object, wanted: object = ANY) -> None:
        """Both sides must see the same, and this where it is known."""
        assert label not in self.seen, label
        self.seen[label] = got
        if wanted is not ANY and got != wanted:
            self.complaints.append(f"{label}: {got} instead of {wanted}")

    def need(self, what: str, holds: bool) -> None:
        if not holds:
            self.complaints.append(f"not so: {what}")

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def start(self, program: Program, *arguments: object, ports: list[int], stop_by: int = signal.SIGTERM) -> Server:
        server = Server(self, program, [str(a) for a in arguments], ports, stop_by)
        self.servers.append(server)
        return server

    def weigh(self, server: Server) -> None:
        """When the server is full."""
        members = family(server.pid)
        self.processes = len(members)
        self.memory = resident(members)

    def contexts(self) -> list[dict[str, int]]:
        """What the processes that have ended said of each context."""
        return [{name: int(n) for name, n in re.findall(r"(\w+)=(-?\d+)", line)}
                for line in self.observed.read_text().splitlines() if line.startswith("context")]

    def counters(self) -> dict[str, int]:
        """libssl's, of all these contexts together."""
        contexts = self.contexts()
        return {name: sum(c[name] for c in contexts) for name in (contexts[0] if contexts else {}) if name != "held"}

    def flushed(self) -> int:
        """By calls of the program itself."""
        return sum(int(before) - int(after) for before, after in
                   re.findall(r"^flush \d+ before=(\d+) after=(\d+)$", self.observed.read_text(), re.M))

    def ours(self) -> dict[str, int]:
        """What sslsweep says of itself in the processes that have ended by exit()."""
        total = dict.fromkeys(OURS_NAMES, 0)
        for values in OURS.findall(self.errors.read_text(errors="replace")):
            for name, value in zip(OURS_NAMES, values):
                total[name] += int(value)
        return total

    def took_over(self) -> bool:
        return "took over the internal session cache" in self.errors.read_text(errors="replace")

    def internal_error(self) -> bool:
        return "internal error, please report it" in self.errors.read_text(errors="replace")

    def close(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.stop()


@dataclasses.dataclass(frozen=True)
class Certificate:
    certificate: pathlib.Path
    key: pathlib.Path
    both: pathlib.Path

    @staticmethod
    def make(folder: pathlib.Path, name: str) -> Certificate:
        made = Certificate(*(folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", f"/CN={name}", "-keyout", made.key, "-out", made.certificate],
                       check=True, capture_output=True)
        made.both.write_text(made.certificate.read_text() + made.key.read_text())
        return made


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`play` runs on both sides; `proof` then says whether sslsweep did its part, from its own figures."""
    program: Program
    what: str
    play: Callable[[Run], None]
    proof: Callable[[Run], None]


def restart(run: Run, server: Server, client: Client, port: int, uncounted: Iterable[str] = ()) -> None:
    """The end of most scenarios: the server ends well, and after its restart it knows none of the old sessions."""
    session = client.visit(port).session
    run.see("resumed before the restart", client.visit(port, session).resumed, True)
    run.see("exit status", server.stop(), 0)
    run.see("counters", {name: n for name, n in run.counters().items() if name not in uncounted})
    server.start()
    run.see("resumed after the restart", client.visit(port, session).resumed, False)
    session = client.visit(port).session
    run.see("resumed from then on", client.visit(port, session).resumed, True)
    run.see("exit status at the end", server.stop(), 0)


# Proofs that sslsweep did its part: by what libssl itself holds, and by the line that sslsweep writes when a
# process ends by exit().


def holds(run: Run) -> None:
    """The sessions are not in libssl's own cache. (There is one entry in it while a context holds something, by
    which sslsweep notices the end of the context.)"""
    contexts = run.contexts()
    number, held = sum(c["number"] for c in contexts), sum(c["held"] for c in contexts)
    run.need(f"libssl itself holds next to nothing: {held} of {number}",
             number > held and all(c["held"] <= 1 for c in contexts))


def stored(run: Run) -> None:
    holds(run)
    ours = run.ours()
    run.need(f"something stored and found: {ours}", ours["stored"] > 0 and ours["found"] > 0)
    gone = ours["flushed"] + ours["evicted"] + ours["removed"]
    run.need(f"stored is what went and what is left: {ours}", ours["stored"] == gone + ours["left"])


def flushed(least: int) -> Callable[[Run], None]:
    def proof(run: Run) -> None:
        stored(run)
        run.need(f"at least {least} flushed: {run.ours()}", run.ours()["flushed"] >= least)
    return proof


STATEFUL = {"SSLSWEEP_TICKETS": "stateful"}


def stateful(run: Run) -> None:
    """Tickets that stock makes without storing anything name sessions in the cache."""
    ours = run.ours()
    run.need(f"something stored and found: {ours}", ours["stored"] > 0 and ours["found"] > 0)


def nothing_stored(run: Run) -> None:
    """The program has a cache of its own, and keeps it."""
    ours = run.ours()
    run.need(f"contexts seen, nothing stored: {ours}", ours["contexts"] > 0 and ours["stored"] == 0)
