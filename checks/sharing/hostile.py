"""Somebody changes the file of a running segment (S6): what was changed is a miss, and nobody fails."""

from __future__ import annotations

import pathlib
import random
import ssl
import sys
from collections.abc import Callable

from harness import (DEAD, HEADER, LENGTH_AT, LIVE, NAME_AT, RECORD_AT, SLOT, VERSIONS, Guest, Scenario, Site, Tour, only,
                     slots)
from support import Server


class Attack:
    """Sessions of one process, the records of which are changed before they are offered to the other one."""

    def __init__(self, site: Site, segment: pathlib.Path, server: Server, port: int):
        self.site, self.segment, self.server, self.port = site, segment, server, port
        self.random = random.Random(14)

    def run(self, what: str, change: Callable[[bytearray, list[int]], None], wanted: bool = False) -> None:
        first, second = sorted(self.server.children())
        for version in VERSIONS:
            guest = Guest(version)
            with only(self.server, first):
                before = self.segment.read_bytes()
                sessions = [guest.meet(self.port).session for _ in range(8)]
                after = self.segment.read_bytes()
                new = [at for at in slots(after, LIVE) if after[at:at + SLOT] != before[at:at + SLOT]]
            self.site.so("S6", f"{what}, {version.name}: there are records to change", len(new) >= 8, new)
            self.write(change, new)
            with only(self.server, second):
                met = [guest.meet(self.port, session) for session in sessions]
            self.site.check("S5 S6", f"{what}, {version.name}: resumed by the other process",
                            [it.resumed for it in met], [wanted] * 8)
            with only(self.server, second):
                again = [guest.meet(self.port, it.session).resumed for it in met]
            self.site.check("S5", f"{what}, {version.name}: sessions made since are resumed", again, [True] * 8)

    def write(self, change: Callable[[bytearray, list[int]], None], places: list[int]) -> None:
        """Only what was changed, into the file that the processes have mapped."""
        data = bytearray(self.segment.read_bytes())
        former = bytes(data)
        change(data, places)
        with self.segment.open("r+b") as file:
            for at in range(0, len(data), SLOT):
                if data[at:at + SLOT] != former[at:at + SLOT]:
                    file.seek(at)
                    file.write(data[at:at + SLOT])

    # The changes.

    def nothing(self, data: bytearray, places: list[int]) -> None:
        pass

    def one_bit(self, data: bytearray, places: list[int]) -> None:
        for at in places:
            length = int.from_bytes(data[at + LENGTH_AT:at + LENGTH_AT + 8], sys.byteorder)
            data[at + RECORD_AT + self.random.randrange(length)] ^= 1 << self.random.randrange(8)

    def shorter(self, data: bytearray, places: list[int]) -> None:
        for at in places:
            length = int.from_bytes(data[at + LENGTH_AT:at + LENGTH_AT + 8], sys.byteorder)
            data[at + LENGTH_AT:at + LENGTH_AT + 8] = self.random.randrange(length).to_bytes(8, sys.byteorder)

    def huge(self, data: bytearray, places: list[int]) -> None:
        for at in places:
            data[at + LENGTH_AT:at + LENGTH_AT + 8] = b"\xff" * 8

    def swapped(self, data: bytearray, places: list[int]) -> None:
        """Each record under the name of the next."""
        records = [bytes(data[at + LENGTH_AT:at + SLOT]) for at in places]
        for at, record in zip(places, records[1:] + records[:1]):
            data[at + LENGTH_AT:at + SLOT] = record

    def renamed(self, data: bytearray, places: list[int]) -> None:
        """The same by their names, so that a record is where somebody looks for another one's."""
        contents = [bytes(data[at + NAME_AT:at + NAME_AT + 16]) for at in places]
        for at, name in zip(places, contents[1:] + contents[:1]):
            data[at + NAME_AT:at + NAME_AT + 16] = name

    def random_bytes(self, data: bytearray, places: list[int]) -> None:
        for at in places:
            data[at + RECORD_AT:at + SLOT - 8] = self.random.randbytes(SLOT - 8 - RECORD_AT)

    def wiped(self, data: bytearray, places: list[int]) -> None:
        data[HEADER:] = bytes(len(data) - HEADER)


def records(site: Site) -> None:
    segment, _ = site.host("1m")
    server, [port] = site.prefork(2)
    attack = Attack(site, segment, server, port)
    attack.run("unchanged", attack.nothing, wanted=True)
    for what, change in (("one bit of each record", attack.one_bit), ("shorter records", attack.shorter),
                         ("lengths of all ones", attack.huge), ("records swapped", attack.swapped),
                         ("names swapped", attack.renamed), ("random bytes", attack.random_bytes),
                         ("all buckets wiped", attack.wiped)):
        attack.run(what, change)
    site.check("S7", "exit status", server.stop(), 0)
    site.so("S9", "the figures count what was refused", site.figures().get("refused: sealed", 0) >= 80, site.figures())


def noise(site: Site) -> None:
    """Every word of the file, the header included, is anything: nobody fails, or resumes what he should not."""
    segment, _ = site.host("64k")
    server, [port] = site.prefork(2)
    numbers = random.Random(14)
    for turn in range(6):
        for version in VERSIONS:
            guest = Guest(version)
            kept: list[tuple[int, ssl.SSLSession]] = []
            for _ in range(10):
                met = guest.meet(port)
                kept.append((met.process, met.session))
            size = segment.stat().st_size
            with segment.open("r+b") as file:
                if turn % 2:  # all states in turn, in front of anything
                    data = bytearray(numbers.randbytes(size))
                    for at in range(HEADER, size, SLOT):
                        data[at] = data[at] & ~3 | (turn + at // SLOT) % 4
                    file.write(data)
                else:
                    file.write(b"\xff" * size if turn else bytes(size))
            met_again = [(of, guest.meet(port, session)) for of, session in kept]
            elsewhere = [met.resumed for of, met in met_again if met.process != of]
            site.check("S5 S6 S7", f"noise {turn}, {version.name}: all are served, and no session is resumed elsewhere",
                       (len(met_again), any(elsewhere)), (10, False))
    site.check("S7", "exit status", server.stop(), 0)


def replayed(site: Site) -> None:
    """Somebody who can write the file puts an old copy back: what has changed since is gone, and nobody fails."""
    segment, _ = site.host("64k")
    server, [port] = site.prefork(2)
    first, second = sorted(server.children())
    tour = Tour(server, port, Guest(VERSIONS[0]))
    session = tour.at(first).session
    copy = segment.read_bytes()
    tour.at(second, session, path="/abrupt")
    site.so("S3", "the removal is in the file", slots(segment.read_bytes(), DEAD) != [], "no dead slot")
    site.check("S3", "after its removal", tour.at(second, session).resumed, False)
    new = tour.at(first).session
    with segment.open("r+b") as file:
        file.write(copy)
    site.check("S5 S6", "a session that is not in the copy, elsewhere", tour.at(second, new).resumed, False)
    site.check("S5", "and where it was made", tour.at(first, new).resumed, True)
    server.stop()


SCENARIOS = [
    Scenario("records changed under way", records),
    Scenario("noise", noise),
    Scenario("an old copy put back", replayed),
]
