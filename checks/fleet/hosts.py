"""Hosts of real servers, each with a network, a segment and an agent of its own, and a client that moves between them.

A host is a network namespace that only a file descriptor of ours and its processes hold, so that nothing of it is left
when the tests end, in whatever way. The hosts, the engine and the client meet at a bridge in one more namespace."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

from harness import (ROOT, Child, Engine, Failure, Group, Machine, Scenario, Site, cluster, listening, sentinels,
                     wait_until)
from nginx import BUILTIN, NGINX, configure
from s_server import OPENSSL, outcome, s_client
from support import PATIENCE, TLS12, TLS13, Certificate, Client, Program, Visit, http

VERSIONS = (TLS12, TLS13)
PYTHON = Program("python3", "--version")
ENGINE, NGINX_PORT, C_PORT, EARLY_PORT, PYTHON_PORT = 6379, 8443, 8444, 8445, 8446
NEWNET = 0x4000_0000
LIBC = ctypes.CDLL(None, use_errno=True)
MIDDLE = "10.77.0.1"  # where the bridge, the engine and the client are
OPEN = ("bind", "0.0.0.0", "protected-mode", "no")  # engines for other hosts


def failed() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


class Network:
    """A network namespace. In `with`, what the thread opens and starts is inside."""

    def __init__(self) -> None:
        self.outside: list[int] = []
        with self._return():
            if LIBC.unshare(NEWNET):
                raise failed()
            self.file = self._own()
            ip("link", "set", "lo", "up")

    @staticmethod
    def _own() -> int:
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def _return(self) -> Iterator[None]:
        own = self._own()
        try:
            yield
        finally:
            answer = LIBC.setns(own, NEWNET)
            os.close(own)
            if answer:
                raise failed()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self._return():
            if LIBC.setns(self.file, NEWNET):
                raise failed()
            yield

    def close(self) -> None:
        os.close(self.file)


def run(*words: object, text: str | None = None) -> None:
    done = subprocess.run([*map(str, words)], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def ip(*words: object) -> None:
    run("ip", *words)


class Host:
    """A machine of the fleet. `made` counts the sessions that its servers have made."""

    def __init__(self, fleet: Fleet, number: int):
        self.fleet, self.address = fleet, f"10.77.0.{10 + number}"
        self.network = Network()
        self.log = fleet.site.folder / f"machine.host{number}.log"
        self.log.touch()
        self.servers: list[tuple[Child, int]] = []
        self.made = 0
        with fleet.network.inside():
            ip("link", "add", f"host{number}", "type", "veth", "peer", "name", "eth0", "netns",
               f"/proc/{os.getpid()}/fd/{self.network.file}")
            ip("link", "set", f"host{number}", "master", "bridge", "up")
        with self.network.inside():
            ip("address", "add", f"{self.address}/24", "dev", "eth0")
            ip("link", "set", "eth0", "up")
            self.machine = Machine(fleet.site, *fleet.upstream).connected()

    def tallies(self) -> dict[str, int]:
        return self.machine.server.tallies()

    def questions(self) -> int:
        """How many were answered."""
        tallies = self.tallies()
        return tallies["Fetched"] + tallies["Absent"] + tallies["Unfit"]

    def start_agent(self) -> Child:
        with self.network.inside():
            return self.machine.agent()

    def start(self, program: Program, port: int, *arguments: object, end: int = signal.SIGTERM) -> Child:
        fleet = self.fleet
        environment = program.environment() | {
            "LD_PRELOAD": str(fleet.site.library), "SSLSWEEP_VERBOSE": "1", "SSLSWEEP_SHARE": f"host:{self.machine.path}:1m",
            "SSLSWEEP_SHARE_KEY": str(fleet.keys), "SSLSWEEP_SHARE_WAIT": str(fleet.wait)}
        with self.network.inside():
            server = Child([program.path(), *arguments], fleet.site.folder, self.log, environment, stdin=subprocess.PIPE)
            self.servers.append((server, end))

            def ready() -> bool:
                if server.process.poll() is not None:
                    raise Failure(f"{program.executable} ended at once: {self.log.read_text()[-500:]}")
                return listening(port)
            wait_until(ready, f"{program.executable} listening")
        return server

    def nginx(self) -> None:
        folder = self.fleet.site.folder / f"nginx.{self.address}"
        folder.mkdir()
        folder.chmod(0o755)
        arguments = configure(folder, BUILTIN + f"""
    server {{
        listen {NGINX_PORT} ssl;
        server_name localhost;
        ssl_certificate {self.fleet.certificate.certificate};
        ssl_certificate_key {self.fleet.certificate.key};
        return 200 "nginx of {self.address}";
    }}""")
        self.start(NGINX, NGINX_PORT, *arguments, end=signal.SIGQUIT)

    def c_server(self, port: int = C_PORT, *more: str) -> None:
        self.start(OPENSSL, port, "s_server", "-accept", f"0.0.0.0:{port}", "-cert", self.fleet.certificate.certificate, "-key",
                   self.fleet.certificate.key, *(more or ("-no_ticket", "-www")))

    def python(self) -> None:
        """A server that ends a connection without a goodbye when it is asked for /abrupt, and flushes for /flush."""
        self.start(PYTHON, PYTHON_PORT, ROOT / "checks/sharing/prefork.py", "--children", 1, "--address", "0.0.0.0", "--name",
                   "localhost", self.fleet.certificate.certificate, self.fleet.certificate.key, PYTHON_PORT)

    def end(self) -> list[int]:
        ends = [server.end(number) for server, number in self.servers]
        self.servers.clear()
        return ends

    def figure(self, name: str) -> int:
        """Of the servers that have ended."""
        lines = "\n".join(re.findall(r"\bsharing: (\d.*)", self.log.read_text(errors="replace")))
        return sum(int(number) for number in re.findall(rf"\b(\d+) {name}\b", lines))

    def filter(self, *rules: str) -> None:
        """These rules for what arrives and what leaves, in place of all former ones."""
        chains = "".join(f"add chain inet test {hook} {{ type filter hook {hook} priority 0; }}\n" + "".join(
            f"add rule inet test {hook} {rule}\n" for rule in rules) for hook in ("input", "output"))
        with self.network.inside():
            run("nft", "-f", "-", text=f"add table inet test\ndelete table inet test\nadd table inet test\n{chains}")

    def dropped(self) -> int:
        """Packets, by the rules that count them."""
        with self.network.inside():
            rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        return sum(map(int, re.findall(r"counter packets (\d+)", rules)))

    def cut(self) -> None:
        """Between this host and the engine there is no network; clients still reach it."""
        self.filter(f"ip saddr {MIDDLE} tcp sport {ENGINE} drop", f"ip daddr {MIDDLE} tcp dport {ENGINE} drop")

    def heal(self) -> None:
        self.filter()


class Fleet:
    """Hosts, and what is between them. `wait` is the SSLSWEEP_SHARE_WAIT of the servers. While it is `orderly`, every session
    that is made is published once."""

    def __init__(self, site: Site, wait: int = 0):
        self.site, self.wait, self.orderly = site, wait, True
        self.upstream: list[object] = ["--upstream", f"redis://{MIDDLE}:{ENGINE}"]
        site.folder.chmod(0o755)  # for nginx, which changes its user
        self.certificate = Certificate.make(site.folder, "localhost")
        self.keys = site.folder / "keys"
        self.sslsweep("share-key", "new", self.keys)
        self.hosts: list[Host] = []
        self.network = Network()
        with self.network.inside():
            ip("link", "add", "bridge", "type", "bridge")
            ip("address", "add", f"{MIDDLE}/24", "dev", "bridge")
            ip("link", "set", "bridge", "up")
            self.engine = Engine(site, *OPEN, port=ENGINE)

    def join(self, number: int = 2) -> Fleet:
        for at in range(number):
            self.hosts.append(Host(self, at))
        return self

    def sslsweep(self, *words: object) -> None:
        run(self.site.programs / "sslsweep", *words)

    def cluster(self) -> list[Engine]:
        """Three nodes in place of the engine, for hosts that join from now on."""
        with self.network.inside():
            nodes = cluster(self.site, 3, *OPEN, address=MIDDLE)
        self.upstream = ["--cluster", "--upstream", *(f"redis://{MIDDLE}:{node.port}" for node in nodes)]
        return nodes

    def sentinels(self) -> Group:
        """The same with a primary, a replica and sentinels."""
        with self.network.inside():
            group = sentinels(self.site, *OPEN, address=MIDDLE)
        self.upstream = ["--sentinel", "fleet", "--upstream", *(f"redis://{MIDDLE}:{one.port}" for one in group.sentinels)]
        return group

    def start_engine(self) -> None:
        with self.network.inside():
            self.engine.start()

    def close(self) -> None:
        for host in self.hosts:
            host.end()
            host.network.close()
        self.network.close()


class Traveller(Client):
    """A client at the bridge, which goes to one host or another."""

    def __init__(self, fleet: Fleet, version: ssl.TLSVersion, port: int):
        super().__init__(version, self.ask)
        self.version = version
        self.fleet, self.port, self.path, self.host = fleet, port, "/", fleet.hosts[0]

    def connect(self, port: int) -> socket.socket:
        with self.fleet.network.inside():
            return socket.create_connection((self.host.address, port), timeout=PATIENCE)

    def ask(self, connection: ssl.SSLSocket) -> str:
        return http(connection, self.path)

    def at(self, host: Host, session: ssl.SSLSession | None = None, path: str = "/") -> Visit:
        self.host, self.path = host, path
        visit = self.visit(self.port, session)
        # By TLS 1.3 a full handshake brings two tickets, and any other one.
        host.made += (self.version is TLS13) + (not visit.resumed)
        return visit

    def resumes(self, host: Host, session: ssl.SSLSession) -> bool:
        return self.at(host, session).resumed

    def introduce(self) -> Traveller:
        """A server resumes sessions of others under a name once it has seen what its own callback makes of the name."""
        for host in self.fleet.hosts:
            self.at(host)
        return self

    def new(self, host: Host) -> ssl.SSLSession:
        """A session that the fleet knows, if no session was removed or lost before."""
        session = self.at(host).session
        made = sum(host.made for host in self.fleet.hosts)
        wait_until(lambda: len(self.fleet.site.records()) >= made, "sessions published")
        return session

    def known(self, host: Host, other: Host) -> ssl.SSLSession:
        """A session of the first that the other has resumed, so that both have it."""
        session = self.at(host).session
        wait_until(lambda: self.resumes(other, session), "a session resumed elsewhere")
        return session

    def first(self, host: Host, other: Host) -> ssl.SSLSession:
        """The first session of one that resumes on the other when it is offered there once."""
        sessions = []

        def resumes() -> bool:
            sessions.append(self.new(host) if self.fleet.orderly else self.at(host).session)
            return self.resumes(other, sessions[-1])
        wait_until(resumes, "a session that resumes elsewhere at the first try")
        return sessions[-1]


def with_hosts(play: Callable[[Site], None]) -> Callable[[Site], None]:
    """Where no namespace can be made, the scenario says so, and is left out."""
    def played(site: Site) -> None:
        try:
            probe = Network()
            with probe.inside():
                ip("link", "add", "bridge", "type", "bridge")
                run("nft", "-f", "-", text="add table inet test\n")
            probe.close()
        except (OSError, Failure) as failure:
            site.left_out("S8", "hosts as network namespaces", f"they cannot be made here: {failure}")
            return
        play(site)
    return played


def fleet_of(site: Site, *arguments: object, **options: object) -> Fleet:
    fleet = Fleet(site, *arguments, **options)
    site.stack.callback(fleet.close)
    return fleet


@with_hosts
def moves(site: Site) -> None:
    """Without a wait: the first try elsewhere is a full handshake, and the second resumes."""
    fleet = fleet_of(site).join()
    a, b = fleet.hosts
    for host in fleet.hosts:
        host.nginx()
        host.c_server()
    for name, port in ("nginx", NGINX_PORT), ("a C server", C_PORT):
        for version in VERSIONS:
            client = Traveller(fleet, version, port).introduce()
            for of, at in (a, b), (b, a):
                what = f"{name}, {version.name}, from {of.address} to {at.address}"
                session = client.new(of)
                site.check("S1", f"{what}: on its own host", client.resumes(of, session), True)
                before = at.tallies()["Fetched"]
                site.check("S5", f"{what}: the first try elsewhere", client.resumes(at, session), False)
                wait_until(lambda at=at, before=before: at.tallies()["Fetched"] > before, "the record")
                site.check("S1", f"{what}: the second", client.resumes(at, session), True)
    client = Traveller(fleet, TLS12, NGINX_PORT)
    session = client.new(a)
    before = b.questions()
    client.host = b
    for _ in range(5):
        client.invent(NGINX_PORT)
    site.check("S1", "after strangers, the first try elsewhere", client.resumes(b, session), False)
    wait_until(lambda: b.questions() > before, "an answer")
    site.check("S8", "five invented ids and a real one: questions to the fleet", b.questions() - before, 1)
    site.check("S7", "the servers end", [host.end()[0] for host in fleet.hosts], [0, 0])
    site.check("S8 S9", "foreign ids in the servers' figures", (a.figure("foreign"), b.figure("foreign")), (0, 5))
    site.so("S5 S9", "nobody has waited", b.figure("asked") > 0 and b.figure("waits") == 0, b.log.read_text()[-500:])


@with_hosts
def at_once(site: Site) -> None:
    """With a wait the first try resumes. (A busy machine may miss a deadline, so some tries are allowed.)"""
    fleet = fleet_of(site, wait=20).join()
    a, b = fleet.hosts
    for host in fleet.hosts:
        host.nginx()
    for version in VERSIONS:
        client = Traveller(fleet, version, NGINX_PORT).introduce()
        for of, at in (a, b), (b, a):
            session = client.first(of, at)
            site.check("S1 S5", f"{version.name}, from {of.address} to {at.address}: the first try has resumed, and the next does",
                       client.resumes(at, session), True)
    site.check("S7", "the servers end", [host.end() for host in fleet.hosts], [[0], [0]])
    site.so("S9", "waits that were answered are counted", all(host.figure("answered") >= 2 for host in fleet.hosts),
            [host.log.read_text()[-500:] for host in fleet.hosts])


@with_hosts
def ended(site: Site) -> None:
    """Removed, flushed and revoked sessions."""
    fleet = fleet_of(site).join()
    a, b = fleet.hosts
    for host in fleet.hosts:
        host.python()
    for version in VERSIONS:
        client = Traveller(fleet, version, PYTHON_PORT).introduce()
        session, other = client.known(a, b), client.known(a, b)
        if version is TLS12:
            site.check("S1", "before its removal", client.at(b, session, "/abrupt").resumed, True)
            wait_until(lambda: not client.resumes(a, session), "the removal there")
            site.check("S3", "removed elsewhere than it was made, and offered to each", [client.resumes(at, session) for at in (a, b)],
                       [False, False])
            site.check("S3", "another one lives", [client.resumes(at, other) for at in (a, b)], [True, True])
        client.at(a, path="/flush")
        wait_until(lambda: not client.resumes(b, other), "the flush there")
        site.check("S3", f"{version.name}: flushed where it was made, and offered to each",
                   [client.resumes(at, other) for at in (b, a, b)], [False] * 3)
    travellers = [Traveller(fleet, version, PYTHON_PORT).introduce() for version in VERSIONS]
    kept = [(client, host, client.at(host).session) for client in travellers for host in fleet.hosts]
    site.check("S1", "before the revocation, each on its own host", [client.resumes(host, it) for client, host, it in kept], [True] * 4)
    fleet.sslsweep("share-key", "revoke", "--segment", a.machine.path)
    wait_until(lambda: b.machine.server("epoch") != "0", "the epoch there")
    site.check("S3", "revoked on one host, and offered to each",
               [client.resumes(at, it) for client, _, it in kept for at in fleet.hosts], [False] * 8)
    for client in travellers:  # (a takes nothing of b's that is not 300 seconds younger than the flush)
        site.check("S1", "what was made afterwards lives", client.resumes(b, client.known(a, b)), True)


@with_hosts
def early(site: Site) -> None:
    """A session for 0-RTT stays on its host."""
    fleet = fleet_of(site).join()
    a, b = fleet.hosts
    for host in fleet.hosts:
        host.c_server(EARLY_PORT, "-tls1_3", "-early_data", "-max_early_data", "1000")
        with host.network.inside():  # each has to know the name
            s_client(site, EARLY_PORT, site.folder / "first")
    data = site.folder / "early"
    data.write_text("only once\n")
    session = site.folder / "session"
    with a.network.inside():
        s_client(site, EARLY_PORT, session)
    session.with_suffix(".new").rename(session)
    wait_until(lambda: a.tallies()["Withheld"] >= 2, "withheld records")
    with b.network.inside():
        for turn in "first", "second":
            site.check("S4", f"on the other host, the {turn} time", outcome(site, EARLY_PORT, session, data), ("New", "rejected"))
    site.check("S4", "records in the engine", {key for key in fleet.engine.keys() if ":r:" in key}, set())
    with a.network.inside():
        site.check("S4", "on its own host", outcome(site, EARLY_PORT, session, data), ("Reused", "accepted"))
        site.check("S4", "once", outcome(site, EARLY_PORT, session, data)[1], "rejected")


@with_hosts
def failures(site: Site) -> None:
    """The engine stops, an agent is killed or hangs, and a host is cut off. Servers would wait, if they were to."""
    fleet = fleet_of(site, wait=20).join()
    a, b = fleet.hosts
    for host in fleet.hosts:
        host.python()
    clients = [Traveller(fleet, version, PYTHON_PORT).introduce() for version in VERSIONS]

    def goes_on(what: str) -> None:
        for client in clients:
            session = client.at(a).session
            site.check("S5", f"{what}, {client.version.name}: own sessions resume, others are full handshakes",
                       [client.resumes(at, session) for at in (a, b, a, b)], [True, False, True, False])

    def again(what: str) -> None:
        for client in clients:
            for of, at in (a, b), (b, a):
                site.check("S1", f"{what}, {client.version.name}, from {of.address} to {at.address}: a session resumes, and once more",
                           client.resumes(at, client.first(of, at)), True)

    again("at first")
    fleet.orderly = False
    fleet.engine.stop()
    goes_on("no engine")
    fleet.start_engine()
    again("the engine is back")

    fleet.engine.child.pause()
    goes_on("the engine hangs")
    fleet.engine.child.resume()
    again("the engine goes on")

    b.machine.agents[0].kill()
    goes_on("an agent was killed")
    agent = b.start_agent()
    again("a new agent")

    agent.pause()
    goes_on("an agent hangs")
    agent.resume()
    again("the agent goes on")
    site.check("S7", "the servers end", [host.end() for host in fleet.hosts], [[0], [0]])


@with_hosts
def split(site: Site) -> None:
    """A host that is cut off from the engine hears of removals when the network is back, and nothing comes back."""
    fleet = fleet_of(site).join()
    a, b = fleet.hosts
    for host in fleet.hosts:
        host.python()
    client = Traveller(fleet, TLS12, PYTHON_PORT).introduce()
    theirs, ours, kept = client.known(a, b), client.known(b, a), client.known(a, b)
    unknown = client.new(a)
    gaps = a.tallies()["Gap"] + b.tallies()["Gap"]
    b.cut()
    wait_until(lambda: b.machine.server("upstream") == "0", "the end of asking")
    site.check("S5", "cut off: what is here resumes, the rest are full handshakes",
               [client.resumes(b, session) for session in (kept, unknown)], [True, False])
    meanwhile = client.at(b).session
    site.check("S3", "removed on both sides", [client.at(a, theirs, "/abrupt").resumed, client.at(b, ours, "/abrupt").resumed], [True] * 2)
    wait_until(lambda: fleet.engine.say("XLEN", "sslsweep:{fleet}:removed") > 0, "the removal of one side")
    b.heal()
    b.machine.connected()
    wait_until(lambda: not client.resumes(a, ours), "the removal of the host that was cut off")
    site.check("S3", "healed: what was removed elsewhere meanwhile, and here, offered to each three times",
               [client.resumes(at, session) for _ in range(3) for session in (theirs, ours) for at in (b, a)], [False] * 12)
    site.check("S9", "nothing was missed: gaps", a.tallies()["Gap"] + b.tallies()["Gap"], gaps)
    wait_until(lambda: client.resumes(a, meanwhile) and client.resumes(b, unknown), "sessions of the time between")
    site.check("S1", "what was made meanwhile resumes on the other host, and what lived goes on",
               [client.resumes(at, session) for session in (meanwhile, unknown, kept) for at in (a, b)], [True] * 6)


def crosses(site: Site, what: str, fleet: Fleet, number: int = 1) -> None:
    """Checks that the first try on the other host resumes: `number` sessions of each version, in each direction."""
    a, b = fleet.hosts
    for version in VERSIONS:
        client = Traveller(fleet, version, NGINX_PORT).introduce()
        for of, at in (a, b), (b, a):
            sessions = [client.first(of, at) for _ in range(number)]
            site.check("S1", f"{what}, {version.name}, from {of.address} to {at.address}: sessions resume, and once more",
                       [client.resumes(at, session) for session in sessions], [True] * number)


@with_hosts
def of_three(site: Site) -> None:
    """A Cluster of three, of which one dies and comes back empty."""
    fleet = fleet_of(site, wait=20)
    nodes = fleet.cluster()
    for host in fleet.join().hosts:
        host.nginx()
    crosses(site, "a Cluster", fleet, 10)
    records = [sum(":r:" in key for key in node.keys()) for node in nodes]
    site.so("S1", "a Cluster: all nodes have records", min(records) > 0, records)
    fleet.orderly = False
    nodes[2].stop()
    client = Traveller(fleet, TLS12, NGINX_PORT)
    a, b = fleet.hosts
    session = client.at(a).session
    site.check("S5", "a node is dead: own sessions resume, handshakes go on",
               [client.resumes(a, session), *(bool(client.at(b).text) for _ in range(10))], [True] * 11)
    with fleet.network.inside():
        nodes[2].start()
    crosses(site, "the node is back", fleet, 10)
    site.check("S7", "the servers end", [host.end() for host in fleet.hosts], [[0], [0]])


@with_hosts
def behind_sentinels(site: Site) -> None:
    """A primary that dies, and a replica that takes over."""
    fleet = fleet_of(site, wait=20)
    group = fleet.sentinels()
    for host in fleet.join().hosts:
        host.nginx()
    crosses(site, "sentinels", fleet)
    fleet.orderly = False
    for one in group.sentinels:
        one.child.pause()
    group.primary.stop()
    client = Traveller(fleet, TLS13, NGINX_PORT)
    a, b = fleet.hosts
    session = client.at(a).session
    site.check("S5", "no primary: own sessions resume, others are full handshakes",
               [client.resumes(at, session) for at in (a, b)], [True, False])
    for one in group.sentinels:
        one.child.resume()
    wait_until(lambda: b"role:master" in group.replica.say("INFO", "replication"), "the failover")
    crosses(site, "after the failover", fleet)
    site.check("S7", "the servers end", [host.end() for host in fleet.hosts], [[0], [0]])


class Slow:
    """Carries bytes between agents and the engine, and holds each piece up for 200 microseconds."""

    def __init__(self, fleet: Fleet):
        self.engine, self.pieces = fleet.engine, 0
        with fleet.network.inside():
            self.listener = socket.create_server((MIDDLE, 0))
        self.url = f"redis://{MIDDLE}:{self.listener.getsockname()[1]}"
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(self.engine.path)
                for ends in (client, engine), (engine, client):
                    threading.Thread(target=self.carry, args=ends, daemon=True).start()

    def carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                time.sleep(200e-6)
                target.sendall(piece)
                self.pieces += 1
        except OSError:
            pass
        finally:
            for end in source, target:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@with_hosts
def far(site: Site) -> None:
    """The engine is 200 microseconds away, and one packet of twenty is lost on the way to each agent."""
    fleet = fleet_of(site, wait=20)
    slow = Slow(fleet)
    site.stack.callback(slow.close)
    fleet.upstream = ["--upstream", slow.url]
    a, b = fleet.join().hosts
    for host in fleet.hosts:
        host.nginx()
        host.filter(*(f"tcp {end} {slow.port} numgen random mod 20 == 0 counter drop" for end in ("sport", "dport")))
    for version in VERSIONS:
        client = Traveller(fleet, version, NGINX_PORT).introduce()
        sessions = [(of, client.at(of).session) for of in (a, b) * 15]

        def resumed(sessions: list = sessions, client: Traveller = client) -> bool:
            sessions[:] = [(of, it) for of, it in sessions if not client.resumes(b if of is a else a, it)]
            return not sessions
        wait_until(resumed, "all of them on the other host")
        site.check("S1", f"{version.name}, 30 sessions: not resumed on the other host, after some tries", len(sessions), 0)
    site.so("S1", "it went through the proxy", slow.pieces > 60, slow.pieces)
    for host in fleet.hosts:
        site.so("S7", f"packets were lost between {host.address} and the engine", host.dropped() > 0)
    site.check("S7", "the servers end", [host.end() for host in fleet.hosts], [[0], [0]])


SCENARIOS = [
    Scenario("a client that moves", moves),
    Scenario("a client that moves, with waits", at_once),
    Scenario("removed, flushed, revoked", ended),
    Scenario("0-RTT", early),
    Scenario("failures", failures),
    Scenario("a split network", split),
    Scenario("delay and loss", far),
    Scenario("a Cluster", of_three),
    Scenario("sentinels", behind_sentinels),
]
