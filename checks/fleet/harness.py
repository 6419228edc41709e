"""What the tests of the fleet are made of: engines (alone, by TLS, as a Cluster, behind sentinels), segments, agents."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "programs"))

from support import (PATIENCE, ROOT, Failure, Program, _end_with_us, free_port, listening,  # noqa: E402,F401
                     wait_until)
from scenarios import Findings, Scenario  # noqa: E402,F401

PROMISES = ("S1", "S3", "S4", "S5", "S6", "S7", "S8", "S9")
REDIS = Program("redis-server", "--version")
WEEK = 7 * 24 * 3600
STEP = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835  # of crates/agent/examples/segment.rs


def key(number: int) -> str:
    """A record's key in the engine."""
    return f"sslsweep:r:{number * STEP % (1 << 128):032x}"


def asked(port: int, what: str) -> tuple[int, str]:
    """The status and the text of an answer by HTTP; 0 if there is none. The agent drops a client that says nothing for 200
    milliseconds, which may be one that waits for a processor, so it asks again for a while."""
    end = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{what}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > end:
                return 0, str(error)
            time.sleep(0.05)


class Refused(Exception):
    """An answer of the engine's that is an error."""


class Resp:
    """A connection to an engine, in the few lines that the tests need."""

    def __init__(self, address: str | tuple[str, int]):
        kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(kind, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words: object) -> object:
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self._answer()

    def _answer(self) -> object:
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise Refused(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self._answer() for _ in range(int(rest))]
        return rest.decode()

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Child:
    """A process of ours, which ends with us."""

    def __init__(self, arguments: Sequence[object], folder: pathlib.Path, log: pathlib.Path,
                 environment: dict[str, str] | None = None, **more: object):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LD_", "SSLSWEEP_"))}
        with open(log, "ab") as output:
            self.process = subprocess.Popen([str(word) for word in arguments], cwd=folder, stderr=output,
                                            env=kept | (environment or {}), preexec_fn=_end_with_us,
                                            **({"stdout": output, "stdin": subprocess.DEVNULL} | more))
        self.pid = self.process.pid

    def send(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

        def stopped() -> bool:
            threads = pathlib.Path(f"/proc/{self.pid}/task").glob("*/stat")
            return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)
        wait_until(stopped, "a process stopping")

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit status; that of a process that had to be killed is -9."""
        self.resume()
        self.send(number)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Engine:
    """One redis-server, with its own folder and port."""

    def __init__(self, site: Site, *options: object, tls: bool = False, sentinel: bool = False, port: int = 0):
        self.site, self.tls = site, tls
        self.port = port or free_port()
        self.folder = site.folder / f"engine.{self.port}"
        self.folder.mkdir()
        self.path = str(self.folder / "socket")
        ports = ["tls-port", self.port, "port", 0] if tls else ["port", self.port]
        lines = [*ports, "bind", "127.0.0.1", "unixsocket", self.path, "dir", self.folder, "save", '""',
                 "appendonly", "no", *options]
        if tls:
            lines += ["tls-cert-file", site.tls.cert, "tls-key-file", site.tls.key, "tls-ca-cert-file", site.tls.ca]
        self.config = self.folder / "redis.conf"
        self.config.write_text("".join(f"{key} {value}\n" for key, value in zip(lines[::2], lines[1::2])))
        self.sentinel = sentinel
        if not sentinel:
            site.engines.append(self)
        self.start()

    @property
    def url(self) -> str:
        return f"{'rediss' if self.tls else 'redis'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        more = ["--sentinel"] if self.sentinel else []
        engine = os.environ.get("ENGINE")
        self.child = Child([engine or REDIS.path(), self.config, *more], self.folder, self.folder / "log",
                           {} if engine else REDIS.environment())
        self.site.children.append(self.child)

        def ready() -> bool:
            if self.child.process.poll() is not None:
                raise Failure(f"redis-server ended at once: {(self.folder / 'log').read_text()[-500:]}")
            return listening(self.port) and os.path.exists(self.path)
        wait_until(ready, "redis-server listening")

    def say(self, *words: object) -> object:
        connection = Resp(self.path)
        try:
            return connection(*words)
        finally:
            connection.close()

    def stop(self) -> None:
        self.child.end(signal.SIGKILL)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def keys(self) -> set[str]:
        return {key.decode() for key in self.say("KEYS", "*")}


def cluster(site: Site, number: int = 3, *options: object, address: str = "127.0.0.1") -> list[Engine]:
    # Not at the port + 10000, which the kernel may have given to a client.
    buses = [free_port() for _ in range(number)]
    nodes = [Engine(site, "cluster-enabled", "yes", "cluster-node-timeout", 5000, "cluster-require-full-coverage", "no",
                    "cluster-port", bus, *options) for bus in buses]
    for at, node in enumerate(nodes):
        node.say("CLUSTER", "ADDSLOTSRANGE", 16384 * at // number, 16384 * (at + 1) // number - 1)
        node.say("CLUSTER", "SET-CONFIG-EPOCH", at + 1)

    def known(node: Engine) -> int:
        return int(re.search(rb"cluster_known_nodes:(\d+)", node.say("CLUSTER", "INFO"))[1])

    def joined() -> bool:
        if known(nodes[0]) < number:  # at first, and after a handshake that took too long
            for node, bus in zip(nodes[1:], buses[1:]):
                nodes[0].say("CLUSTER", "MEET", address, node.port, bus)
        return all(b"cluster_state:ok" in node.say("CLUSTER", "INFO") and known(node) == number for node in nodes)
    wait_until(joined, "the Cluster")
    return nodes


@dataclasses.dataclass
class Group:
    """A primary, a replica and three sentinels."""
    primary: Engine
    replica: Engine
    sentinels: list[Engine]


def sentinels(site: Site, *options: object, address: str = "127.0.0.1") -> Group:
    primary = Engine(site, *options)
    replica = Engine(site, "replicaof", f"{address} {primary.port}", *options)
    wait_until(lambda: b"master_link_status:up" in replica.say("INFO", "replication"), "the replica")
    watchers = []
    for _ in range(3):
        watchers.append(Engine(site, *options, "sentinel", f"monitor fleet {address} {primary.port} 2",
                               "sentinel", "down-after-milliseconds fleet 2000",
                               "sentinel", "failover-timeout fleet 2000", sentinel=True))

    def ready() -> bool:
        for watcher in watchers:
            told = watcher.say("SENTINEL", "MASTER", "fleet")
            facts = dict(zip(told[::2], told[1::2]))
            if (facts[b"num-other-sentinels"], facts[b"num-slaves"]) != (b"2", b"1"):
                return False
        return True
    wait_until(ready, "the sentinels")
    return Group(primary, replica, watchers)


@dataclasses.dataclass(frozen=True)
class Tls:
    """A CA, a certificate of 127.0.0.1, and one that has expired."""
    ca: pathlib.Path
    cert: pathlib.Path
    key: pathlib.Path
    expired: pathlib.Path

    @staticmethod
    def make(folder: pathlib.Path) -> Tls:
        def openssl(*words: object) -> None:
            done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failure(done.stderr)
        ca, cert, key, expired = (folder / name for name in ("ca.pem", "cert.pem", "key.pem", "expired.pem"))
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2, "-subj",
                "/CN=fleet test CA", "-keyout", folder / "ca.key", "-out", ca)
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=engine",
                "-keyout", key, "-out", folder / "request.pem")
        extensions = folder / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        for out, days in (cert, 2), (expired, -1):
            openssl("x509", "-req", "-in", folder / "request.pem", "-CA", ca, "-CAkey", folder / "ca.key",
                    "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", out)
        key.chmod(0o600)
        return Tls(ca, cert, key, expired)


class Talk:
    """A program that does what lines say, and answers each in a line: crates/agent/examples/."""

    def __init__(self, site: Site, program: pathlib.Path, *arguments: object):
        self.child = Child([program, *arguments], site.folder, site.log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        site.children.append(self.child)

    def raw(self, *words: object) -> str:
        pipe = self.child.process
        pipe.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        pipe.stdin.flush()
        line = pipe.stdout.readline().decode()
        if not line:
            raise Failure(f"{pipe.args[0]} has ended at {words}")
        return line.strip()


class EngineTalk(Talk):
    """The agent's own client of the engine."""
    took = 0

    def __call__(self, *words: object) -> str:
        took, kind, *answer = self.raw(*words).split(" ")
        self.took = int(took)
        return " ".join(answer) if kind == "ok" else f"error: {' '.join(answer)}"


class Server(Talk):
    """A server process of a machine: it puts, gets, forgets and asks. Names are ranges: the first in hexadecimal, and their number."""

    def __call__(self, *words: object) -> str:
        answer = self.raw(*words)
        if answer.startswith("error"):
            raise Failure(f"{words}: {answer}")
        return answer

    def tallies(self) -> dict[str, int]:
        return {name: int(number) for name, number in (word.split("=") for word in self("tallies").split())}


class Machine:
    """A machine with a segment, an agent and a server process."""

    def __init__(self, site: Site, *arguments: object, size: str = "1m", agents: int = 1):
        self.site, self.arguments, self.size = site, arguments, size
        site.machines += 1
        self.path = site.folder / f"machine.{site.machines}"
        self.log = site.folder / f"machine.{site.machines}.log"
        self.log.touch()
        self.agents: list[Child] = []  # that were started, in their order
        for _ in range(agents):
            self.agent()
        wait_until(self.path.exists, "the segment")
        self.server = self.process()

    def agent(self, *more: object) -> Child:
        child = Child([self.site.programs / "sslsweep-shared", "--segment", f"{self.path}:{self.size}", *self.site.limits(),
                       *self.arguments, *more], self.site.folder, self.log)
        self.site.children.append(child)
        self.agents.append(child)
        return child

    def process(self) -> Server:
        return Server(self.site, self.site.programs / "examples" / "segment", self.path, self.path.stat().st_size)

    def said(self) -> list[str]:
        return self.log.read_text().splitlines()

    def connected(self) -> Machine:
        wait_until(lambda: self.server("upstream") == "1", "the agent's connection")
        return self

    def floor(self) -> int:
        """Its floor, in seconds since the epoch; or 0."""
        while True:
            now = int(time.time())
            ago = self.server("floor")
            if int(time.time()) == now:
                return 0 if ago == "none" else now - int(ago)

    def published(self, first: str, number: int) -> None:
        """Waits until an engine has these records. (The tally leaves out a record if the engine's answer came too late.)"""
        wanted = {key(int(first, 16) + at) for at in range(number)}
        wait_until(lambda: wanted <= self.site.records(), f"{number} records published")

    def fetches(self, first: object, number: int) -> int:
        """How many of these records arrive here, when a server asks once for each of them."""
        self.server("ask", first, number, 1000)
        return int(self.server("get", first, number))

    def gets(self, first: object, number: int, wanted: int = 0) -> int:
        """Asks until these records are here, or `wanted` of them; returns how many are. (An answer may be late, and a question
        may be lost.)"""
        wait_until(lambda: self.fetches(first, number) >= (wanted or number), "records")
        return int(self.server("get", first, number))


class Site(Findings):
    """A scenario: its processes, and what was found."""

    promises = PROMISES
    limit = 2000  # milliseconds: of agents and clients, for connections to engines and for their answers

    def __init__(self, folder: pathlib.Path, programs: pathlib.Path, library: pathlib.Path, tls: Tls):
        super().__init__()
        self.folder, self.programs, self.library, self.tls = folder, programs, library, tls
        folder.mkdir()
        self.log = folder / "log"
        self.log.touch()
        self.children: list[Child] = []
        self.engines: list[Engine] = []  # without the sentinels
        self.machines = 0
        self.stack = contextlib.ExitStack()

    def close(self) -> None:
        """Things that have to end in some other way come first."""
        self.stack.close()
        for child in reversed(self.children):
            child.resume()
            child.kill()

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def at_the_end(self) -> tuple[str, bool, str]:
        texts = [text for _, text in self.logs()]
        return "no panic", not any("panicked" in text for text in texts), "\n".join(texts)[-2000:]

    def logs(self) -> Iterator[tuple[str, str]]:
        for log in [*self.folder.glob("*log"), *self.folder.glob("*/log")]:
            yield log.name, log.read_text(errors="replace")

    def limits(self) -> list[object]:
        return ["--timeout", self.limit, "--connect-timeout", self.limit]

    def talk(self, *arguments: object) -> EngineTalk:
        return EngineTalk(self, self.programs / "examples" / "engine", *self.limits(), *arguments)

    def records(self) -> set[str]:
        """The keys of records and of removed ones in all engines that live."""
        found: set[str] = set()
        for engine in self.engines:
            with contextlib.suppress(OSError):
                found |= {key for key in engine.keys() if ":r:" in key}
        return found
