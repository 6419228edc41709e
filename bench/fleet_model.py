#!/usr/bin/env python3
"""fleet_model.py [MACHINES CLIENTS VISITS]: a model of a fleet, to see load and failover at sizes that no test has. A balancer
sends clients to a machine that chance chooses, each time or for one visit of ten. Counts, for each hundred visits, what was
resumed from the machine's own segment, what was fetched, and what was a full handshake, before a failure, during it and
afterwards; and what the engine has to do.

There are no times in it: a visit is an instant, an answer always comes within a wait, and publishing is done at once
where it can be done at all. Each client keeps the session of its last full handshake for four visits on average."""

from __future__ import annotations

import collections
import dataclasses
import random
import sys
from collections.abc import Callable

RETURNS = 4      # visits for each session, if it lives to its end
REMOVED = 0.01   # visits after which the session is removed, because the connection has ended badly
SLOTS = 4        # of a segment, for each session that its machine makes within a lifetime


@dataclasses.dataclass(frozen=True)
class Session:
    number: int
    made: int
    home: int


class Machine:
    def __init__(self) -> None:
        self.segment: collections.OrderedDict[int, Session] = collections.OrderedDict()
        self.unsent: list[Session] = []
        self.agent = True


class Fleet:
    def __init__(self, machines: int, clients: int, moves: float, wait: bool, seed: int = 17):
        self.chance, self.moves = random.Random(seed), moves
        self.last = [self.chance.randrange(machines) for _ in range(clients)]
        self.machines = [Machine() for _ in range(machines)]
        self.held: list[Session | None] = [None] * clients
        self.lifetime = clients * RETURNS
        self.room = max(8, SLOTS * clients // machines)
        self.engine: dict[int, Session] = {}
        self.is_reached = True
        self.floor = -1
        self.now = 0
        self.wait = wait
        self.counts: collections.Counter[str] = collections.Counter()

    def put(self, machine: Machine, session: Session) -> None:
        machine.segment[session.number] = session
        if len(machine.segment) > self.room:
            machine.segment.popitem(last=False)
            self.counts["evicted"] += 1

    def publish(self, machine: Machine, session: Session) -> None:
        if machine.agent and self.is_reached:
            self.engine[session.number] = session
            self.counts["published"] += 1
        else:
            machine.unsent.append(session)  # (the segment has a bit for it)

    def send_all(self) -> None:
        for machine in self.machines:
            again, machine.unsent = machine.unsent, []
            for session in again:
                if session.number in machine.segment and session.made > self.floor:
                    self.publish(machine, session)

    def usable(self, session: Session | None) -> bool:
        return session is not None and self.now - session.made < self.lifetime and session.made > self.floor

    def resumes(self, machine: Machine, session: Session) -> str:
        if session.number in machine.segment:
            return "own"
        if not machine.agent:
            return "full"
        self.counts["questions"] += 1
        if not self.is_reached:
            self.counts["unanswered"] += 1
            return "full"
        if session.number not in self.engine:
            self.counts["absent"] += 1
            return "full"
        self.counts["fetched"] += 1
        self.put(machine, session)
        return "fetched, resumed" if self.wait else "full"

    def visit(self) -> None:
        self.now += 1
        client = self.chance.randrange(len(self.held))
        if self.chance.random() < self.moves:
            self.last[client] = self.chance.randrange(len(self.machines))
        number = self.last[client]
        machine, session = self.machines[number], self.held[client]
        how = self.resumes(machine, session) if self.usable(session) else "full"
        self.counts[how] += 1
        self.counts["visits"] += 1
        if how == "full":
            session = self.held[client] = Session(self.now, self.now, number)
            self.put(machine, session)
            self.publish(machine, session)
        if self.chance.random() < REMOVED:
            self.counts["removals"] += 1
            self.counts["deliveries"] += len(self.machines) - 1
            self.engine.pop(session.number, None)
            for other in self.machines:
                other.segment.pop(session.number, None)
            self.held[client] = None

    def run(self, visits: int) -> collections.Counter[str]:
        self.counts = collections.Counter()
        for _ in range(visits):
            self.visit()
        counts = self.counts
        assert counts["own"] + counts["fetched, resumed"] + counts["full"] == visits
        assert counts["questions"] == counts["fetched"] + counts["absent"] + counts["unanswered"]
        return counts


def reach(fleet: Fleet, answer: bool) -> None:
    fleet.is_reached = answer


def agents(fleet: Fleet, alive: bool) -> None:
    for machine in fleet.machines[: len(fleet.machines) // 10]:
        machine.agent = alive


def emptied(fleet: Fleet) -> None:
    """All records are lost, and perhaps removals: everybody refuses what is older."""
    fleet.engine = {}
    fleet.floor = fleet.now


def nothing(_: Fleet) -> None:
    pass


FAILURES: dict[str, tuple[Callable[[Fleet], None], Callable[[Fleet], None]]] = {
    "none": (nothing, nothing),
    "the engine cannot be reached": (lambda it: reach(it, False), lambda it: reach(it, True)),
    "a tenth of the agents is stopped": (lambda it: agents(it, False), lambda it: agents(it, True)),
    "the engine restarts empty": (emptied, nothing),
}


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:]] or [100, 5_000, 20_000]
    if len(numbers) != 3:
        sys.exit(__doc__)
    machines, clients, visits = numbers
    print(f"{machines:,} machines, {clients:,} clients, {visits:,} visits before, during and after; "
          f"of each hundred visits: own segment + fetched / full\n")
    print("| a client moves | wait | failure | before | during | after | questions during, unanswered |")
    print("|---|---|---|---|---|---|---|")

    def shown(counts: collections.Counter[str]) -> str:
        own, fetched, full = (100 * counts[name] / visits for name in ("own", "fetched, resumed", "full"))
        return f"{own:.0f} + {fetched:.0f} / {full:.0f}"
    load: collections.Counter[str] = collections.Counter()
    for moves, wait in (1.0, True), (1.0, False), (0.1, True), (0.1, False):
        for name, (begin, end) in FAILURES.items():
            fleet = Fleet(machines, clients, moves, wait)
            fleet.run(clients * RETURNS * 2)  # until as many sessions expire as are made
            before = fleet.run(visits)
            begin(fleet)
            during = fleet.run(visits)
            end(fleet)
            fleet.send_all()
            after = fleet.run(visits)
            load = load or before
            print(f"| {'always' if moves == 1 else 'once in ten visits'} | {'yes' if wait else 'no'} | {name} | {shown(before)} | "
                  f"{shown(during)} | {shown(after)} | {100 * during['questions'] / visits:.0f}, "
                  f"{100 * during['unanswered'] / visits:.0f} |", flush=True)
    print("\nThe engine, for each hundred visits without a failure, if clients always move and handshakes wait: "
          f"{100 * load['published'] / visits:.0f} records published, {100 * load['questions'] / visits:.0f} questions, "
          f"{100 * load['removals'] / visits:.1f} removals, which are read {100 * load['deliveries'] / visits:,.0f} times; "
          f"{100 * load['evicted'] / visits:.1f} records evicted from segments.")


if __name__ == "__main__":
    main()
