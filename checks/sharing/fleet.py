"""Servers on two "machines": two segments with the same key, and between them agents that answer questions."""

from __future__ import annotations

import mmap
import pathlib
import sys
import threading

from harness import HEADER, LIVE, NAME_AT, SLOT, VERSIONS, Guest, Scenario, Site, new_key, slots, wait_until, write_keys

# Words of the header, by the layout of crates/segment/src/header.rs.
AGENT, UPSTREAM, PENDING, CELLS, CELL, ANSWERS = 18, 19, 48, 512, 8, 3
BUCKET = 8 * SLOT


class Agent(threading.Thread):
    """Answers the questions of one machine with what another has, and counts them."""

    def __init__(self, segment: pathlib.Path, other: pathlib.Path):
        super().__init__(daemon=True)
        with segment.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)
        self.other, self.asked, self.carried, self.over = other, 0, 0, False
        self.put(AGENT, 1)
        self.put(UPSTREAM, 1)
        self.start()

    def get(self, word: int) -> int:
        return int.from_bytes(self.memory[8 * word:8 * word + 8], sys.byteorder)

    def put(self, word: int, value: int) -> None:
        self.memory[8 * word:8 * word + 8] = value.to_bytes(8, sys.byteorder)

    def run(self) -> None:
        pause = threading.Event()
        while not self.over:
            pending = self.get(PENDING)
            if pending:
                self.put(PENDING, 0)  # (what is asked in between is lost, as questions may be)
            for number in range(64):
                if pending >> number & 1:
                    cell = CELLS + number * CELL
                    self.asked += 1
                    self.carry(bytes(self.memory[8 * cell:8 * cell + 16]))
                    self.put(cell + ANSWERS, self.get(cell + ANSWERS) + 1)
            pause.wait(0.001)

    def carry(self, name: bytes) -> None:
        """The record of this name, into a free slot of the bucket that it has on every machine."""
        theirs = self.other.read_bytes()
        for at in slots(theirs, LIVE):
            if theirs[at + NAME_AT:at + NAME_AT + 16] != name:
                continue
            bucket = at - (at - HEADER) % BUCKET
            for to in range(bucket, bucket + BUCKET, SLOT):
                if self.memory[to:to + 8] == bytes(8):
                    self.memory[to + 8:to + SLOT - 8] = theirs[at + 8:at + SLOT - 8]
                    self.memory[to:to + 8] = theirs[at:at + 8]  # last
                    self.carried += 1
                    return

    def end(self) -> None:
        self.over = True
        self.join()
        self.put(UPSTREAM, 0)


def two_machines(site: Site, wait: str) -> None:
    keys = site.folder / "keys"
    write_keys(keys, new_key())
    site.options |= {"SSLSWEEP_SHARE_KEY": str(keys), "SSLSWEEP_SHARE_WAIT": wait}
    segments = [site.folder / name for name in ("here", "there")]
    ports = []
    for segment in segments:
        site.options["SSLSWEEP_SHARE"] = f"host:{segment}:1m"
        ports += site.prefork(1)[1]
    agents = [Agent(segments[0], segments[1]), Agent(segments[1], segments[0])]
    asked = 0
    for version in VERSIONS:
        client = Guest(version)
        for port in ports:  # each has to know the name
            client.meet(port)
        session = client.meet(ports[0]).session
        site.check("S1", f"on its own machine, {version.name}", client.meet(ports[0], session).resumed, True)
        before = agents[1].asked
        first = client.meet(ports[1], session).resumed
        wait_until(lambda before=before: agents[1].asked > before, "a question")
        if wait == "0":
            site.check("S5", f"the first visit elsewhere does not wait, {version.name}", first, False)
        wait_until(lambda: agents[1].carried > asked, "a record")
        site.check("S1", f"a later visit there resumes, {version.name}", client.meet(ports[1], session).resumed, True)
        asked = agents[1].carried
    site.check("S8", "questions of the machine that has made all sessions", agents[0].asked, 0)
    strangers(site, ports[1], agents[1])
    for agent in agents:
        agent.end()
    client = Guest(VERSIONS[0])
    session = client.meet(ports[0]).session
    site.check("S5", "without an agent: a full handshake", client.meet(ports[1], session).resumed, False)
    for server in site.servers:
        server.stop()
    figures = site.figures()
    site.so("S9", "figures of questions", figures.get("asked", 0) >= 2 and figures.get("foreign", 0) == 5, figures)
    site.check("S5 S9", "figures of waits", figures.get("waits", 0) > 0, wait != "0")


def strangers(site: Site, port: int, agent: Agent) -> None:
    """Clients that invent session ids."""
    before = agent.asked
    for _ in range(5):
        Guest(VERSIONS[0]).invent(port)
    site.check("S8", "questions for invented ids", agent.asked - before, 0)


SCENARIOS = [
    Scenario("two machines", lambda site: two_machines(site, "0")),
    Scenario("two machines, with waits", lambda site: two_machines(site, "20")),
]
