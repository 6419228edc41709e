"""Children of a prefork server are killed and stopped at any instruction (S7) while clients come and go. Nobody waits
for them, no handshake fails but one of a killed child, and every session stays its name's."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time

from harness import PATIENCE, VERSIONS, Failure, Guest, Scenario, Site, Tour, every_pair, wait_until
from support import Server

NAMES = ("one.test", "two.test")
CLIENTS, CHILDREN = 4, 6


def seconds() -> float:
    minutes = os.environ.get("MINUTES", "")
    return float(minutes) * 60 if minutes else 6


class Storm:
    """Kills and stops children until it is over. `killed` has each before it is."""

    def __init__(self, server: Server):
        self.server = server
        self.killed: set[int] = set()
        self.kills = self.stops = 0
        self.over = threading.Event()
        self.random = random.Random(14)

    def run(self) -> None:
        held: list[tuple[float, int]] = []
        while not self.over.is_set():
            time.sleep(self.random.uniform(0, 0.06))
            now = time.monotonic()
            for _, child in [it for it in held if it[0] <= now]:
                self.send(child, signal.SIGCONT)
            held = [it for it in held if it[0] > now]
            child = self.random.choice(sorted(self.server.children()) or [0])
            if not child or any(child == it for _, it in held):
                continue
            if self.random.random() < 0.5:
                self.killed.add(child)
                self.kills += self.send(child, signal.SIGKILL)
            elif len(held) < CHILDREN // 2:
                self.stops += self.send(child, signal.SIGSTOP)
                held.append((now + self.random.choice((0.01, 0.1, 1.5)), child))
        for _, child in held:
            self.send(child, signal.SIGCONT)

    @staticmethod
    def send(child: int, number: int) -> bool:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            return False
        return True


class Visitor:
    """One client, by both versions and under both names."""

    def __init__(self, port: int, storm: Storm, number: int):
        self.port, self.storm, self.random = port, storm, random.Random(number)
        self.guests = [Guest(version) for version in VERSIONS]
        for guest in self.guests:
            guest.begin = self.hear
        self.process = 0
        self.kept: list[tuple[Guest, str, int, object]] = []
        self.visits = self.resumed = self.elsewhere = 0
        self.failures: list[str] = []

    def hear(self, plain: socket.socket) -> None:
        """The number of the process that has accepted, which comes before TLS."""
        said = b""
        while not said.endswith(b"\n"):
            byte = plain.recv(1)
            if not byte:
                raise ConnectionResetError
            said += byte
        self.process = int(said)

    def run(self) -> None:
        while not self.storm.over.is_set():
            self.process = 0
            if self.kept and self.random.random() < 0.8:
                guest, name, of, session = self.random.choice(self.kept[-40:])
            else:
                guest, name, of, session = self.random.choice(self.guests), self.random.choice(NAMES), 0, None
            try:
                met = guest.meet(self.port, session, name)
            except (OSError, Failure) as error:
                # Of a child that was killed before it could accept nothing was heard.
                if self.process and self.process not in self.storm.killed:
                    self.failures.append(f"process {self.process}, session of {of}: {error!r}")
                continue
            self.visits += 1
            self.resumed += met.resumed
            self.elsewhere += met.resumed and met.process != of
            if met.name != name:
                self.failures.append(f"{met.name} instead of {name}")
            self.kept.append((guest, name, met.process, met.session))


def weather(site: Site, size: str) -> None:
    site.family(size)
    server, [port] = site.prefork(CHILDREN, "--hello", names=NAMES)
    storm = Storm(server)
    visitors = [Visitor(port, storm, number) for number in range(CLIENTS)]
    threads = [threading.Thread(target=it.run, daemon=True) for it in (storm, *visitors)]
    for thread in threads:
        thread.start()
    time.sleep(seconds())
    end = time.monotonic() + PATIENCE

    def elsewhere() -> int:
        return sum(it.elsewhere for it in visitors)
    while not (storm.kills > 20 and storm.stops > 10 and elsewhere()) and time.monotonic() < end:
        time.sleep(0.1)
    storm.over.set()
    for thread in threads:
        thread.join(60)
    site.check("S7", "threads that are still waiting", sum(thread.is_alive() for thread in threads), 0)
    facts = f"{storm.kills} killed, {storm.stops} stopped; {sum(it.visits for it in visitors)} visits, " \
            f"{sum(it.resumed for it in visitors)} resumed, {elsewhere()} elsewhere"
    site.so("S7", f"it was a storm: {facts}", storm.kills > 20 and storm.stops > 10, facts)
    site.so("S1 S7", "sessions were resumed elsewhere meanwhile", elsewhere() > 0, facts)
    site.check("S5 S7", "handshakes that failed although nobody killed their process, and names mixed",
               [failure for it in visitors for failure in it.failures], [])
    wait_until(lambda: len(server.children()) == CHILDREN, "the children")
    for version in VERSIONS:
        guest = Guest(version)
        guest.begin = visitors[0].hear
        tour = Tour(server, port, guest)
        tour.introduce(NAMES)
        pairs = tour.crossings(NAMES[1])
        if size == "64m":
            site.check("S1 S7", f"after it, {version.name}: each resumes all sessions", pairs, every_pair(server))
    server.stop()


def large(site: Site) -> None:
    weather(site, "64m")


def small(site: Site) -> None:
    """A segment so small that all meet in the same slots."""
    weather(site, "12k")


SCENARIOS = [Scenario("kills and stops", large), Scenario("kills and stops, a small segment", small)]
