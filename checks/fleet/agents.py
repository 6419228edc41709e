"""Agents between segments and an engine: records, removals, epochs and gaps reach every machine, whatever happens to
agents and engines."""

from __future__ import annotations

import grp
import os
import socket
import threading
import time

from harness import (PATIENCE, WEEK, Child, Engine, Machine, Refused, Resp, Scenario, Site, asked, cluster, free_port, key,
                     sentinels, wait_until)
from engines import RIGHTS


def pair(site: Site, *arguments: object, **options: object) -> tuple[Machine, Machine]:
    machines = [Machine(site, *arguments, **options) for _ in range(2)]
    return machines[0].connected(), machines[1].connected()


def travels(site: Site, what: str, a: Machine, b: Machine, first: int) -> None:
    """Records of one machine are found on the other, and what is removed there is found on none."""
    site.check("S1", f"{what}: put here", a.server("put", f"{first:x}", 200, 3600, 0), "200")
    a.published(f"{first:x}", 200)
    site.check("S1", f"{what}: not there before somebody asks", b.server("get", f"{first:x}", 200), "0")
    site.check("S1", f"{what}: fetched there", b.gets(f"{first:x}", 200), 200)
    applied = a.server.tallies()["Applied"]
    b.server("forget", f"{first:x}", 50, 3600)
    wait_until(lambda: a.server.tallies()["Applied"] >= applied + 50, "the removal here")
    site.check("S3", f"{what}: removed there, gone here", a.server("get", f"{first:x}", 200), "150")
    site.check("S3", f"{what}: and it does not come back", a.fetches(f"{first:x}", 50) + b.fetches(f"{first:x}", 50), 0)


def two(site: Site) -> None:
    site.limit = 20_000  # nothing fails, however slow the machine is
    engine = Engine(site)
    a, b = pair(site, "--upstream", engine.url)
    travels(site, "two machines", a, b, 1)
    travels(site, "the other way", b, a, 1001)
    figures = a.server.tallies()
    site.check("S9", "figures", (figures["Removed"], figures["Withheld"], figures["Failed"], figures["Gap"]), (50, 0, 0, 0))
    site.check("S9", "the log says what matters, once", [len(m.said()) for m in (a, b)], [1, 1])

    a.server("put", "5000", 20, 3600, 1)
    a.server("put", "6000", 20, 3600, 0)
    a.published("6000", 20)
    wait_until(lambda: a.server.tallies()["Withheld"] >= 20, "withheld records")
    a.server("forget", "5000", 10, 3600)
    wait_until(lambda: a.server.tallies()["Withheld"] >= 30, "withheld removals")
    site.check("S4", "what may be used once is in no engine, alive or removed",
               engine.keys() & {key(number) for number in range(0x5000, 0x5014)}, set())
    site.check("S4", "and on no other machine", b.fetches("5000", 20), 0)

    # A name that is removed before it was ever put.
    b.server("forget", "7000", 5, 3600)
    wait_until(lambda: key(0x7004) in engine.keys(), "tombstones")
    a.server("put", "7000", 5, 3600, 0)
    # By the mark in the engine, or because the removal is heard of meanwhile.
    wait_until(lambda: a.server("get", "7000", 5) == "0", "the end of what was removed")
    site.check("S3", "removed before it was put: nowhere to be had", (a.server("get", "7000", 5), b.fetches("7000", 5)), ("0", 0))
    c = Machine(site, "--upstream", engine.url).connected()
    site.check("S3", "nor on a third machine", c.fetches("7000", 5), 0)
    site.check("S1", "a third machine fetches", c.gets("6000", 20), 20)

    # Whoever may write to the segment writes any time.
    a.server("forget", "7800", 1, 1 << 63)
    wait_until(lambda: key(0x7800) in engine.keys(), "a tombstone")
    left = engine.say("TTL", key(0x7800))
    site.so("S7", "a removal for ever is one for the longest life of a record", WEEK - 60 <= left <= WEEK, left)

    # A session whose life was made shorter: nobody else resumes what it was before.
    a.server("put", "6000", 5, 1800, 4)
    wait_until(lambda: c.server("get", "6000", 20) == "15", "the end of longer lives there")
    site.check("S3", "a life made shorter here ends there", (a.server("get", "6000", 20), c.server("get", "6000", 20)), ("20", "15"))
    d = Machine(site, "--upstream", engine.url).connected()
    site.check("S1", "others fetch the shorter one", d.gets("6000", 20), 20)

    # What a machine has fetched is not news.
    before = b.server.tallies()
    site.check("S1", "fetched", b.gets("6000", 20), 20)
    time.sleep(0.3)
    after = b.server.tallies()
    site.check("S9", "a fetched record is not published again", after["Published"], before["Published"])

    begun = int(time.time())
    engine.say("XADD", "sslsweep:{fleet}:removed", "*", "f", begun - 250)
    wait_until(lambda: b.server("floor") != "none", "the floor")
    site.so("S3", "where a machine's clock is behind, its floor is one by the clock of each machine",
            b.floor() >= begun, (b.floor(), begun))
    site.check("S7", "agents stop", [m.agents[0].end() for m in (a, b, c, d)], [0] * 4)
    site.check("S5", "without an agent nobody asks", b.server("ask", "6000", 1, 1000), "Unasked")


def revoke(site: Site) -> None:
    engine = Engine(site)
    a, b = pair(site, "--upstream", engine.url)
    a.server("raise", 3)
    wait_until(lambda: b.server("epoch") == "3", "the epoch there")
    site.check("S3", "one machine revokes, the other hears of it", b.server("epoch"), "3")
    late = Machine(site, "--upstream", engine.url).connected()
    site.check("S3", "so does one that comes later", late.server("epoch"), "3")
    engine.say("FLUSHALL")
    wait_until(lambda: a.server.tallies()["Gap"] == 1, "the gap")
    newer = Machine(site, "--upstream", engine.url).connected()
    newer.server("raise", 2)
    b.agents[0].end()
    b.agent()
    b.connected()
    wait_until(lambda: newer.server("epoch") == "3", "the epoch there")
    site.check("S3", "the highest epoch wins, also where the engine has forgotten it", newer.server("epoch"), "3")
    engine.say("XADD", "sslsweep:{fleet}:removed", "*", "e", 1 << 40)
    engine.say("XADD", "sslsweep:{fleet}:removed", "*", "e", 5)
    wait_until(lambda: a.server("epoch") == b.server("epoch") == "5", "the epoch")
    site.check("S7", "an epoch far beyond all is not believed", (a.server("epoch"), b.server("epoch")), ("5", "5"))

    # A machine whose clock was ahead has left its epoch in the engine.
    engine.say("SET", "sslsweep:{fleet}:epoch", 1 << 40)
    for machine in (a, b):
        machine.agents[-1].end()
        machine.agent()
        machine.connected()
    a.server("raise", 6)
    wait_until(lambda: b.server("epoch") == "6", "the next epoch there")
    site.check("S3", "an epoch that nobody believes keeps no later one from the others",
               (b.server("epoch"), engine.say("GET", "sslsweep:{fleet}:epoch")), ("6", b"6"))

    # A new segment has no epoch, and knows none before its agent has reached the engine. The fleet has one.
    new = Machine(site, "--upstream", f"redis://127.0.0.1:{free_port()}")
    run = Child([site.programs / "sslsweep", "share-key", "revoke", "--segment", new.path], site.folder, site.log)
    site.check("S3", "a machine without the engine revokes", run.process.wait(PATIENCE), 0)
    new.agents[0].end()
    since = new.server("epoch")
    new.arguments = ("--upstream", engine.url)
    new.agent()
    wait_until(lambda: a.server("epoch") == b.server("epoch") == since, "the epoch there")
    site.check("S3", "its fleet takes that for new", (a.server("epoch"), b.server("epoch")), (since, since))


def lost(site: Site) -> None:
    """A machine that may have missed a removal, or an engine that has lost some."""
    engine = Engine(site)
    a, b = pair(site, "--upstream", engine.url, "--removals", 150)
    site.check("S3", "no gap at the start", (a.server("floor"), b.server("floor")), ("none", "none"))
    b.server("put", "50000", 5, 3600, 0)
    b.published("50000", 5)
    b.agents[0].end()
    a.server("put", "1", 20, 3600, 0)
    a.published("1", 20)
    for name in range(250):
        a.server("forget", f"{0x100 + name:x}", 1, 3600)
        if name % 10 == 9:
            wait_until(lambda least=name: a.server.tallies()["Removed"] > least, "removals")
    removed = a.server.tallies()["Removed"]
    entries = engine.say("XLEN", "sslsweep:{fleet}:removed")
    site.so("S3", "the stream was trimmed", entries < 250 and removed >= 250, (entries, removed))
    engine.say("XTRIM", "sslsweep:{fleet}:removed", "MAXLEN", 1)
    engine.say("DEL", *(key(0x50000 + at) for at in range(5)))  # removed, and the tombstones evicted
    begun = int(time.time())
    b.agent()
    b.connected()
    site.check("S9", "a machine that has missed removals counts a gap", b.server.tallies()["Gap"], 1)
    site.so("S3", "and refuses what is older", b.floor() >= begun, (b.floor(), begun))
    wait_until(lambda: b.server.tallies()["Withheld"] >= 5, "its first pass")
    site.check("S3", "and brings nothing back that may have been removed, and whose marks may be evicted",
               engine.keys() & {key(0x50000 + at) for at in range(5)}, set())
    b.server("put", "60000", 5, 3600, 0)
    b.published("60000", 5)
    site.check("S1", "what is made afterwards travels", a.gets("60000", 5), 5)
    b.agents[-1].end()
    b.agent()
    b.connected()
    wait_until(lambda: b.server.tallies()["Withheld"] >= 10, "the first pass of the next agent")
    b.server("put", "60100", 5, 3600, 0)
    wait_until(lambda: key(0x60104) in engine.keys(), "what is put then")
    site.check("S3", "nor does the next agent bring it back", engine.keys() & {key(0x50000 + at) for at in range(5)}, set())
    site.check("S3", "the other has missed nothing", a.server("floor"), "none")

    engine.say("SAVE")
    a.server("forget", "1", 10, 3600)
    wait_until(lambda: a.server.tallies()["Removed"] >= removed + 10, "removals")
    time.sleep(1)  # the floors are in seconds
    begun = int(time.time())
    engine.stop()
    engine.start()
    wait_until(lambda: a.server.tallies()["Gap"] == 1 and b.server.tallies()["Gap"] == 2, "gaps")
    site.so("S3", "an engine from an old snapshot: all machines refuse what is older",
            min(a.floor(), b.floor()) >= begun, (a.floor(), b.floor(), begun))
    late = Machine(site, "--upstream", engine.url).connected()
    site.so("S3", "also one that comes later", late.floor() >= begun, (late.floor(), begun))
    travels(site, "afterwards", a.connected(), b.connected(), 0x9000)
    site.so("S9", "the log says so", any("lost removals" in line for line in a.said()), a.said())


def returned(site: Site) -> None:
    """A machine comes back after a loss that all others know of; and a floor of a clock that was ahead."""
    engine = Engine(site)
    engine.say("XADD", "sslsweep:{fleet}:removed", "1000-1", "n", b"")  # long ago: nothing that was read since is lost
    a, b = pair(site, "--upstream", engine.url)
    b.agents[0].end()
    begun = int(time.time())
    engine.say("FLUSHALL")
    wait_until(lambda: a.server.tallies()["Gap"] == 1, "the gap")
    time.sleep(2)
    told = a.floor()
    b.agent()
    b.connected()
    site.check("S9", "the machine that comes back notices, too", b.server.tallies()["Gap"], 1)
    site.so("S3", "and refuses what is older", b.floor() >= begun, (b.floor(), begun))
    time.sleep(0.5)
    site.check("S1", "and lets the others keep what they have made since", a.floor(), told)

    begun = int(time.time())
    engine.say("SET", "sslsweep:{fleet}:floor", begun + 86400)
    floors = []
    for _ in range(2):
        a.agents[-1].end()
        a.agent()
        a.connected()
        floors.append(a.floor())
        time.sleep(2)
    site.so("S3", "a floor of the far future means now, and only once", begun <= floors[0] == floors[1] <= time.time(),
            (begun, floors))
    floor = int(engine.say("GET", "sslsweep:{fleet}:floor"))
    site.so("S3", "in the engine, too", begun <= floor <= time.time(), (begun, floor))


def crowded(site: Site) -> None:
    """A removal for which the segment has no slot: nobody knows its name, so all machines refuse what is older."""
    engine = Engine(site)
    a = Machine(site, "--upstream", engine.url, size="20k").connected()
    b = Machine(site, "--upstream", engine.url).connected()
    begun = int(time.time())
    a.server("forget", "1", 400, 3600)
    wait_until(lambda: b.server("floor") != "none", "the floor there")
    site.so("S3", "a removal without a slot raises the floor of all", b.floor() >= begun, (b.floor(), begun))
    time.sleep(1)  # by now the agent has noted that it was told
    told = b.floor()
    a.agents[0].kill()
    time.sleep(2)
    a.agent()
    a.connected()
    time.sleep(0.5)
    site.check("S3", "a restart tells it no second time", b.floor(), told)

    engine.say("CONFIG", "SET", "min-replicas-to-write", 1)
    lines, before = len(a.said()), a.floor()
    a.server("forget", "1000", 400, 3600)
    wait_until(lambda: a.floor() > before, "the floor here")
    time.sleep(4)
    site.so("S3", "an engine that takes no writes: one machine refuses what is older, once", int(a.server("floor")) >= 3,
            a.server("floor"))
    site.so("S9", "and the log has a line or two", len(a.said()) <= lines + 2, a.said()[lines:])
    engine.say("CONFIG", "SET", "min-replicas-to-write", 0)
    wait_until(lambda: b.floor() > told, "the floor there")
    site.so("S3", "and all do when it takes them again", b.floor() > told, (b.floor(), told))


def killed(site: Site) -> None:
    """Agents are killed at any moment, and nothing is lost."""
    engine = Engine(site)
    a, b = pair(site, "--upstream", engine.url, size="8m")
    agent = a.agents[0]
    for turn in range(20):
        a.server("put", f"{turn * 1000:x}", 100, 3600, 0)
        a.server("forget", f"{turn * 1000:x}", 20, 3600)
        time.sleep(0.003 * turn)
        agent.kill()
        a.server("put", f"{turn * 1000 + 100:x}", 20, 3600, 0)
        agent = a.agent()
    a.connected()
    wanted = {key(turn * 1000 + at): at >= 20 for turn in range(20) for at in range(120)}

    def there() -> bool:
        connection = Resp(engine.path)
        got = connection("MGET", *wanted)
        connection.close()
        return all(value is not None and (len(value) > 0) == alive for value, alive in zip(got, wanted.values()))
    wait_until(there, "all records and removals in the engine")
    site.check("S7", "20 kills: every record and every removal is in the engine", there(), True)
    site.check("S1", "and the other machine gets them", sum(b.gets(f"{turn * 1000:x}", 120, 100) for turn in range(20)), 2000)

    # While there is no agent.
    agent.end()
    a.server("put", "f0000", 50, 3600, 0)
    b.server("forget", "14", 30, 3600)
    wait_until(lambda: b.server.tallies()["Removed"] >= 30, "the removals there")
    a.server("forget", "3e8", 120, 3600)
    agent = a.agent()
    a.connected()
    site.check("S3", "what was removed elsewhere meanwhile is gone before anybody fetches", a.server("get", "14", 30), "0")
    wait_until(lambda: b.server("get", "3e8", 120) == "0", "the removal there")
    site.check("S3", "and what was removed here is gone there", b.fetches("3e8", 120), 0)
    site.check("S1", "what was put meanwhile is fetched", b.gets("f0000", 50), 50)

    agent.pause()
    b.server("put", "e0000", 10, 3600, 0)
    begun = time.monotonic()
    answers = a.server("ask", "e0000", 10, 20)
    took = time.monotonic() - begun
    site.so("S5", "a stopped agent: deadlines are missed, and then nobody waits",
            set(answers.split()) == {"Missed", "Open"} and took < 10, (answers, took))
    agent.resume()
    site.check("S1", "it goes on: fetched", a.gets("e0000", 10), 10)
    wait_until(lambda: a.server("ask", "1", 1, 20) == "Met" and a.server("breaker") == "0", "waiting")
    site.check("S5", "and servers wait again", a.server("breaker"), "0")


def twins(site: Site) -> None:
    engine = Engine(site)
    a = Machine(site, "--upstream", engine.url, agents=2).connected()
    b = Machine(site, "--upstream", engine.url).connected()
    wait_until(lambda: any("another agent" in line for line in a.said()), "the second agent's message")
    travels(site, "two agents on one segment", a, b, 1)
    site.check("S9", "each removal was sent once", b.server.tallies()["Removed"], 50)
    waiting = sum("another agent" in line for line in a.said())
    site.check("S9", "the second says once that it waits", waiting, 1)
    # Three of each agent that carries, and this one.
    wait_until(lambda: len(engine.say("CLIENT", "LIST").splitlines()) <= 7, "no connection of the second agent")
    site.so("S7", "only one has connections", len(engine.say("CLIENT", "LIST").splitlines()) <= 7, engine.say("CLIENT", "LIST"))
    # Whichever of them carries.
    a.agents[0].kill()
    time.sleep(0.5)
    a.connected()
    travels(site, "the first is killed", a, b, 1001)
    site.check("S7", "the second ends", a.agents[-1].end(), 0)


def moved(site: Site) -> None:
    """Somebody removes the file of the segment."""
    engine = Engine(site)
    a, b = pair(site, "--upstream", engine.url)
    a.server("put", "1", 10, 3600, 0)
    a.published("1", 10)
    a.path.unlink()
    wait_until(a.path.exists, "a new segment")
    a.server = a.process()
    a.connected()
    site.check("S7", "a new segment in place of a removed one: fetched", a.gets("1", 10), 10)
    site.so("S9", "the log says so", any("was removed from its path" in line for line in a.said()), a.said())
    travels(site, "a new segment", b, a, 1001)


def engines(site: Site) -> None:
    """An engine that comes late, hangs, dies, is full, or is another one."""
    port = free_port()
    a = Machine(site, "--upstream", f"redis://127.0.0.1:{port}")
    a.server("put", "1", 100, 3600, 0)
    a.server("forget", "1", 10, 3600)
    site.check("S5", "no engine: nobody asks", a.server("ask", "1", 1, 1000), "Unasked")
    time.sleep(1)
    site.check("S9", "no engine: the log says it once", len(a.said()), 1)
    engine = Engine(site, port=port)
    a.connected()
    a.published("b", 90)
    b = Machine(site, "--upstream", engine.url).connected()
    site.check("S1", "an engine that comes late gets all", b.gets("1", 100, 90), 90)
    wait_until(lambda: len(a.said()) > 1, "the message")
    site.check("S9", "the log says that it is there", len(a.said()), 2)

    engine.child.pause()
    a.server("put", "1001", 100, 3600, 0)
    begun = time.monotonic()
    answers = b.server("ask", "1001", 100, 20)
    took = time.monotonic() - begun
    site.so("S5", "a hung engine: a deadline or three are missed, and nobody waits",
            set(answers.split()) <= {"Missed", "Open", "Met", "Unasked"} and {"Open", "Unasked"} & set(answers.split()) and
            took < 10, (answers, took))
    wait_until(lambda: b.server("upstream") == "0", "the end of asking")
    engine.child.resume()
    b.connected()
    site.check("S1", "it goes on: all is fetched", b.gets("1001", 100), 100)

    engine.say("CONFIG", "SET", "maxmemory", 1)
    a.server("put", "2001", 100, 3600, 0)
    wait_until(lambda: any("OOM" in line for line in a.said()), "the message")
    lines = len(a.said())
    time.sleep(2)
    site.check("S9", "a full engine: the log says it once", len(a.said()), lines)
    site.check("S1", "a full engine: what it has is fetched", b.gets("1", 100, 90), 90)
    engine.say("CONFIG", "SET", "maxmemory", 0)
    site.check("S1", "room again: nothing was lost", b.gets("2001", 100), 100)

    engine.say("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(1)  # they notice, and connect again
    travels(site, "cut connections", a.connected(), b.connected(), 0x3001)

    engine.stop()
    wait_until(lambda: a.server("upstream") == "0" and b.server("upstream") == "0", "the end of asking")
    a.server("put", "4001", 100, 3600, 0)
    engine.start()
    b.connected()
    site.check("S1", "a new and empty engine: what was put meanwhile is fetched", b.gets("4001", 100), 100)
    site.so("S3", "and everything older is refused", b.server("floor") != "none", b.server("floor"))


def full(site: Site) -> None:
    """An engine that has lost removals and takes nothing: it cannot be told that they are lost."""
    engine = Engine(site)
    a, b = pair(site, "--upstream", engine.url)
    for here, there, name in (a, b, 1), (b, a, 101):
        here.server("put", f"{name:x}", 10, 3600, 0)
        here.published(f"{name:x}", 10)
        site.check("S1", "before the loss", there.gets(f"{name:x}", 10), 10)
        here.server("forget", f"{name:x}", 5, 3600)
        wait_until(lambda it=there: it.server.tallies()["Applied"] >= 5, "removals")
    begun = int(time.time())
    engine.stop()
    wait_until(lambda: a.server("upstream") == "0" and b.server("upstream") == "0", "the end of asking")
    engine.config.write_text(engine.config.read_text() + "maxmemory 1\n")
    engine.start()
    for machine in a, b:
        wait_until(lambda it=machine: it.server("floor") != "none", "the floor")
        site.so("S3", "an engine that is empty and full: older sessions are refused", machine.floor() >= begun,
                (machine.floor(), begun))
        site.check("S5", "and nobody asks", machine.server("upstream"), "0")
    time.sleep(4)
    site.so("S5", "and sessions from afterwards are resumed", all(int(it.server("floor")) >= 3 for it in (a, b)),
            [it.server("floor") for it in (a, b)])
    engine.say("CONFIG", "SET", "maxmemory", 0)
    a.connected(), b.connected()
    late = Machine(site, "--upstream", engine.url).connected()
    site.so("S3", "room again: one that comes later refuses them, too", late.server("floor") != "none", late.server("floor"))

    a.server("raise", 7)
    wait_until(lambda: b.server("epoch") == "7", "the epoch there")
    b.server("put", "1001", 10, 3600, 0)
    b.published("1001", 10)
    site.check("S1", "before a removal", a.gets("1001", 10), 10)
    a.agents[0].end()
    b.server("forget", "1001", 10, 3600)
    wait_until(lambda: b.server.tallies()["Removed"] >= 10, "the removals")
    engine.say("CONFIG", "SET", "maxmemory", 1)
    a.server("raise", 8)
    a.agent()
    wait_until(lambda: a.server("get", "1001", 10) == "0", "the removal here")
    site.check("S3", "a full engine, which cannot be told of an epoch: removals are heard of", a.server("get", "1001", 10), "0")


def topologies(site: Site) -> None:
    nodes = cluster(site)
    a, b = pair(site, "--cluster", "--upstream", *(node.url for node in nodes))
    travels(site, "a Cluster", a, b, 1)
    others = [node for node in nodes if not _has_stream(node)]
    removed = b.server.tallies()["Applied"]
    others[0].stop()
    b.agents[-1].end()
    b.agent()
    a.server("forget", f"{1 + 50:x}", 100, 3600)
    wait_until(lambda: b.server.tallies()["Applied"] >= removed + 100, "removals there")
    site.check("S3", "a Cluster without one of its nodes, which has not the stream: what is removed here is gone there",
               b.server("get", "1", 200), "50")
    engine = Engine(site, tls=True)
    a, b = pair(site, "--upstream", engine.url, "--ca", site.tls.ca, "--cert", site.tls.cert, "--key", site.tls.key)
    travels(site, "TLS", a, b, 0x1001)
    group = sentinels(site)
    a, b = pair(site, "--sentinel", "fleet", "--upstream", *(one.url for one in group.sentinels))
    travels(site, "sentinels", a, b, 0x2001)
    group.primary.stop()
    wait_until(lambda: b"role:master" in group.replica.say("INFO", "replication"), "the failover")
    travels(site, "after a failover", a.connected(), b.connected(), 0x3001)


def _has_stream(node: Engine) -> bool:
    try:
        node.say("XLEN", "sslsweep:{fleet}:removed")
    except Refused:
        return False
    return True


def nonsense(site: Site) -> None:
    """A hostile engine: a small one of the tests', that answers all commands with what it likes."""
    site.limit = 300
    real = Engine(site)
    lies: dict[bytes, bytes] = {}
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        upstream = Resp(real.path)
        file = client.makefile("rb")
        try:
            while True:
                head = file.readline()
                if not head:
                    return
                words = []
                for _ in range(int(head[1:])):
                    words.append(file.read(int(file.readline()[1:]) + 2)[:-2])
                lie = lies.get(words[0].upper())
                upstream.socket.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
                truth = _copy(upstream.file)
                if lie == b"in drops":
                    for byte in b"$400\r\n" + b"x" * 400:
                        client.sendall(bytes([byte]))
                        time.sleep(0.1)
                        if not lies:
                            return
                client.sendall(truth if lie is None else lie)
        except (OSError, ValueError):
            pass
        finally:
            client.close()
            upstream.close()

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()

    a = Machine(site, "--upstream", real.url).connected()
    b = Machine(site, "--upstream", f"redis://127.0.0.1:{listener.getsockname()[1]}").connected()
    travels(site, "through a proxy", a, b, 1)
    b.server("put", "5000", 50, 3600, 0)
    huge = b"x" * 600

    def bulk(value: bytes) -> bytes:
        return b"$%d\r\n%s\r\n" % (len(value), value)

    def entry(*words: bytes, at: bytes) -> bytes:
        fields = b"*%d\r\n" % len(words) + b"".join(map(bulk, words))
        return b"*1\r\n*2\r\n" + bulk(b"sslsweep:{fleet}:removed") + b"*1\r\n*2\r\n" + bulk(at) + fields
    far = b"99999999999999-1"
    for number, (what, lie) in enumerate({
        "records too large": {b"GET": bulk(huge)}, "records too small": {b"GET": bulk(b"x")},
        "foreign records": {b"GET": bulk(b"\xff" * 8 + b"not one of ours")},
        "records for single use": {b"GET": bulk(b"\xff" * 8 + b"ss\x01\x01" + b"x" * 300)},
        "records that never end": {b"GET": bulk(b"\xff" * 8 + b"ss\x01\x00" + b"x" * 300)},
        "numbers for records": {b"GET": b":1\r\n"}, "arrays for records": {b"GET": b"*2\r\n:1\r\n:2\r\n"},
        "success without an effect": {b"SET": b"+OK\r\n", b"XADD": b"+OK\r\n", b"EVAL": b":1\r\n"},
        "failures": {b"SET": b"-OOM no\r\n"}, "a stream without order": {b"XREAD": entry(b"n", b"x" * 16, at=b"1-1")},
        "a stream that is none": {b"XREAD": b":1\r\n"},
        "an entry of the far future": {b"XREAD": entry(b"n", b"x" * 17, at=far)},
        "a floor and an epoch of the far future": {b"XREAD": entry(b"f", b"9" * 30, b"e", b"9" * 30, b"f", b"9" * 18, at=far)},
        "no information": {b"XINFO": b"*0\r\n"}, "a stream with a lower end": {b"XINFO": b"-ERR no such key\r\n"},
    }.items()):
        lies.clear()
        lies.update(lie)
        own = f"{0x6000 + 100 * number:x}"
        b.server("put", own, 20, 3600, 0)
        b.server("want", "8000", 30)
        b.server("forget", own, 5, 3600)
        time.sleep(0.4)
        b.server("want", "8000", 30)
        time.sleep(0.2)
        site.check("S7", f"hostile, {what}: the agent lives", b.agents[0].process.poll(), None)
        site.check("S6", f"hostile, {what}: this machine's own records stay", b.server("get", "5000", 50), "50")
    lies.clear()
    wait_until(lambda: b.server("upstream") == "1", "an honest engine again")
    lies[b"XREAD"] = b"in drops"
    wait_until(lambda: b.server("upstream") == "0", "the end of asking")
    site.check("S3", "removals that come in drops: nobody asks what may have been removed", b.server("ask", "1", 1, 1000), "Unasked")
    lies.clear()
    wait_until(lambda: b.server("upstream") == "1", "an honest engine again")
    a.server("put", "b000", 50, 3600, 0)
    site.check("S7", "honest again: fetched", b.gets("b000", 50), 50)
    site.so("S7", "a floor beyond all clocks was not believed", b.server("floor") == "none" or int(b.server("floor")) >= -310,
            b.server("floor"))


def _copy(file: object) -> bytes:
    """One answer, as it is."""
    line = file.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and rest != b"-1":
        return line + file.read(int(rest) + 2)
    if kind == b"*" and rest != b"-1":
        return line + b"".join(_copy(file) for _ in range(int(rest)))
    return line


def ran(site: Site, *words: object) -> tuple[int, str]:
    """The exit status of the agent's program, and what it has said."""
    out = site.folder / "out"
    out.write_text("")
    child = Child([site.programs / "sslsweep-shared", *words], site.folder, out)
    return child.process.wait(PATIENCE), out.read_text()


def told(site: Site) -> None:
    """Status, check, HTTP, and what a service manager hears."""
    engine = Engine(site)
    listen = free_port()
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(site.folder / "notify"))
    notify.settimeout(PATIENCE)
    path = site.folder / "segment"
    log = site.folder / "machine.told.log"
    agent = Child([site.programs / "sslsweep-shared", "--segment", f"{path}:1m", "--upstream", engine.url, "--listen",
                   f"127.0.0.1:{listen}", *site.limits()], site.folder, log, {"NOTIFY_SOCKET": str(site.folder / "notify")})
    site.children.append(agent)
    site.check("S9", "it says when it is ready", notify.recv(100), b"READY=1")

    def get(what: str) -> tuple[int, str]:
        return asked(listen, what)

    def run(*words: object) -> tuple[int, str]:
        return ran(site, *words)
    check = "check", "--upstream", engine.url, *site.limits()
    wait_until(lambda: get("/healthz")[0] == 200, "health")
    site.check("S9", "healthy", get("/healthz"), (200, "ok\n"))
    status, text = get("/metrics")
    site.so("S9", "metrics", status == 200 and "sslsweep_shared_published_total 0\n" in text and
            'sslsweep_shared_up{link="fetching"} 1\n' in text and "sslsweep_shared_upstream 1\n" in text, text)
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    site.check("S9", "each metric has one type and one help", (len(names), text.count("# HELP")), (len(set(names)), len(names)))
    site.check("S9", "other paths", get("/secrets")[0], 404)
    wait_until(lambda: run("status", "--segment", path)[0] == 0, "a status without complaints")
    status, text = run("status", "--segment", path)
    site.so("S9", "status", status == 0 and "agent        lives" in text and "can be reached" in text, text)
    status, text = run(*check)
    site.so("S9", "check", status == 0 and ("Redis 7" in text or "Valkey 8" in text) and "maxmemory is not set" in text, text)
    engine.say("CONFIG", "SET", "maxmemory", "100mb")
    for policy, mark in ("noeviction", "note maxmemory-policy is noeviction"), ("volatile-ttl", "yes  maxmemory-policy"):
        engine.say("CONFIG", "SET", "maxmemory-policy", policy)
        text = run(*check)[1]
        site.so("S9", f"check: {policy}", mark in text, text)
    engine.stop()
    wait_until(lambda: "no connection for" in get("/healthz")[1], "illness")
    site.check("S9", "not healthy without the engine", get("/healthz")[0], 503)
    status, text = run("status", "--segment", path)
    site.so("S9", "status without the engine", status == 1 and "cannot be reached" in text, text)
    status, text = run(*check)
    site.so("S9", "check without the engine", status == 1 and "cannot be reached" in text, text)
    site.check("S7", "it stops", agent.end(), 0)
    site.check("S9", "it says that it stops", notify.recv(100), b"STOPPING=1")
    status, text = run("status", "--segment", path)
    site.so("S9", "status without an agent", status == 1 and "does not live" in text, text)
    if os.geteuid() == 0:
        shared = site.folder / "shared"
        agent = Child([site.programs / "sslsweep-shared", "--segment", f"{shared}:1m", "--group", "nogroup", "--upstream",
                       engine.url], site.folder, log)
        site.children.append(agent)
        wait_until(shared.exists, "the segment")
        about = shared.stat()
        site.check("S6", "a segment of a group", (oct(about.st_mode & 0o7777), about.st_gid), ("0o660", grp.getgrnam("nogroup").gr_gid))
        agent.end()
    for words, mark in ((["status", "--segment", site.folder / "none"], "cannot be read"),
                        (["--segment", path, "--upstream", "nonsense"], "is no URL"),
                        (["--segment", path, "--upstream", engine.url, engine.url], "--cluster"),
                        (["--segment", path, "--upstream", engine.url, "--group", "nobody at all"], "no group"),
                        (["--segment", f"{path}:2m", "--upstream", engine.url], "bytes instead of"),
                        (["--segment", path, "--upstream", engine.url, "--listen", "0.0.0.0:1"], "loopback"),
                        ([], "Usage"), (["--segment", path], "--upstream")):
        status, text = run(*words)
        site.so("S9", f"{mark}: refused in a line", status in (1, 2) and mark in text, (status, text))


def checked(site: Site) -> None:
    """What `check` says of engines that answer and are of no use, and that it leaves nothing."""
    engine, other = Engine(site), Engine(site)
    a = Machine(site, "--upstream", engine.url).connected()

    def check(what: str, *marks: str, user: tuple[object, ...] = ()) -> None:
        status, text = ran(site, "check", "--upstream", engine.url, *site.limits(), *user)
        lines = [line for line in text.splitlines() if line.startswith("no ")]
        site.so("S9", f"check: {what}", status == bool(marks) and bool(lines) == bool(marks) and
                all(mark in text.upper() for mark in marks), text)
    check("an engine that can be used")
    wait_until(lambda: not any(":r:" in key for key in engine.keys()), "the end of the records")
    site.check("S9", "check leaves no key but the stream", engine.keys(), {"sslsweep:{fleet}:removed"})
    check("once more")
    time.sleep(0.5)
    site.check("S3", "no agent takes it for a removal, a floor or an epoch",
               (a.server.tallies()["Gap"], a.server.tallies()["Applied"], a.server("floor")), (0, 0, "none"))
    travels(site, "afterwards", a, Machine(site, "--upstream", engine.url).connected(), 1)

    engine.say("REPLICAOF", "127.0.0.1", other.port)
    wait_until(lambda: b"master_link_status:up" in engine.say("INFO", "replication"), "the replica")
    check("a read-only engine", "NO   RECORDS CANNOT BE PUBLISHED", "READONLY")
    engine.say("REPLICAOF", "NO", "ONE")
    engine.say("CONFIG", "SET", "maxmemory", 1)
    check("a full engine", "NO   RECORDS CANNOT BE PUBLISHED", "OOM")
    engine.say("CONFIG", "SET", "maxmemory", 0)
    engine.say("CONFIG", "SET", "min-replicas-to-write", 1)
    check("an engine without a replica that it must have", "NO   RECORDS CANNOT BE PUBLISHED", "NOREPLICAS")
    engine.say("CONFIG", "SET", "min-replicas-to-write", 0)
    file = site.folder / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    user = ("--user", "agent", "--password-file", file)
    engine.say("ACL", "SETUSER", *RIGHTS.split()[1:], "+info")
    check("a user with the rights that are needed", user=user)
    for right, line in (("xadd", "NO   REMOVALS CANNOT BE TOLD"), ("set", "NO   RECORDS CANNOT BE PUBLISHED"),
                        ("eval", "NO   EPOCHS CANNOT BE RAISED"), ("xread", "NO   THE STREAM OF REMOVALS CANNOT BE READ")):
        engine.say("ACL", "SETUSER", "agent", f"-{right}")
        check(f"a user without +{right}", line, "NOPERM", user=user)
        engine.say("ACL", "SETUSER", "agent", f"+{right}")

    nodes = cluster(site)
    words = "check", *site.limits(), "--cluster", "--upstream", *(node.url for node in nodes)
    status, text = ran(site, *words)
    site.so("S9", "check: a Cluster", status == 0, text)
    for node in nodes:
        node.say("CONFIG", "SET", "maxmemory", 1)
        status, text = ran(site, *words)
        site.so("S9", "check: a Cluster with a node that is full", status == 1 and "OOM" in text.upper(), text)
        node.say("CONFIG", "SET", "maxmemory", 0)


def pestered(site: Site) -> None:
    """What any user of the machine can do to an agent that listens."""
    engine = Engine(site)
    port = free_port()
    a = Machine(site, "--upstream", engine.url, "--listen", f"127.0.0.1:{port}").connected()
    b = Machine(site, "--upstream", engine.url).connected()

    def connect() -> socket.socket:
        client = site.stack.enter_context(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", port))
        return client

    def write(client: socket.socket, what: bytes, times: int) -> str:
        try:
            for _ in range(times):
                client.sendall(what)
        except TimeoutError:
            return "it waits"
        except OSError:
            return "closed"
        return "all is taken"
    client = connect()
    client.sendall(b"GET /metrics HTTP/1.1\r\nName: ")
    site.check("S7", "a line without an end: the connection is closed", write(client, b"x" * 1024, 1 << 15), "closed")
    site.check("S7", "requests without an end, of a client that reads nothing: so it is",
               write(connect(), b"GET /metrics HTTP/1.1\r\n\r\n", 1 << 20), "closed")
    idle = [connect() for _ in range(100)]
    travels(site, "100 idle connections", a, b, 1)
    threads = len(os.listdir(f"/proc/{a.agents[0].pid}/task"))
    site.so("S7", "they have no threads", threads <= 8, threads)
    for client in idle:
        client.close()
    wait_until(lambda: asked(port, "/healthz") == (200, "ok\n"), "health")
    site.check("S9", "figures afterwards", asked(port, "/metrics")[0], 200)

    idle = [connect() for _ in range(100)]
    for client in idle[::2]:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n" * 50)
    site.check("S7", "SIGTERM with 100 connections that are idle or read nothing: it ends", a.agents[0].end(), 0)


def handed(site: Site) -> None:
    """An address that two agents are to listen at, or a stranger has."""
    engine = Engine(site)
    port = free_port()
    a = Machine(site, "--upstream", engine.url, "--listen", f"127.0.0.1:{port}").connected()
    wait_until(lambda: asked(port, "/healthz")[0] == 200, "health")
    for what, end in ("stopped", Child.end), ("killed", Child.kill):
        log = len(a.said())
        a.agent()
        wait_until(lambda: any("another agent" in line for line in a.said()[log:]), "the message of the spare")
        site.check("S9", "with a spare: figures of the first", asked(port, "/metrics")[0], 200)
        end(a.agents[-2])
        wait_until(lambda: asked(port, "/healthz")[0] == 200, "health")
        site.check("S9", f"the first is {what}, the spare answers", asked(port, "/metrics")[0], 200)
    site.check("S7", "the spare ends", a.agents[-1].end(), 0)

    stranger = socket.create_server(("127.0.0.1", port))
    a.agent()
    a.connected()
    said = [line for line in a.said() if f"127.0.0.1:{port} is in use" in line]
    site.check("S9", "an address that a stranger has: told once", len(said), 1)
    time.sleep(1)
    site.check("S9", "and not again", sum("is in use" in line for line in a.said()), len(said))
    stranger.close()
    wait_until(lambda: asked(port, "/healthz")[0] == 200, "health")
    site.check("S9", "the stranger is gone: figures", asked(port, "/metrics")[0], 200)


def hanging(site: Site) -> None:
    """An engine whose answers come in drops and without end, so that no time limit for a piece of them is of use."""
    site.limit = 500  # the agent waits for its threads many times as long
    dripping = threading.Semaphore(0)
    listener = site.stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def drip(client: socket.socket) -> None:
        try:
            client.recv(65536)
            client.sendall(b"+OK\r\n+OK\r\n$400000\r\n")
            dripping.release()
            while True:
                client.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            client.close()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(client,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    machines = []
    for _ in range(2):
        machines.append(Machine(site, "--upstream", f"redis://127.0.0.1:{listener.getsockname()[1]}"))
        site.so("S7", "an answer without end has begun", dripping.acquire(timeout=PATIENCE))
    a, b = machines
    b.path.unlink()
    status = a.agents[0].end()
    site.so("S7", "SIGTERM while a thread waits for an answer without end: it ends", status == 1 and any("has not ended" in line for line in a.said()), (status, a.said()))
    wait_until(lambda: b.agents[0].process.poll() is not None or b.path.exists(), "the end of the agent, or a new segment")
    site.so("S7", "so it does if its segment is removed", b.agents[0].process.poll() in (None, 1), b.agents[0].process.poll())
    site.check("S5", "nobody asks", a.server("upstream"), "0")
    engine = Engine(site)
    a.arguments = ("--upstream", engine.url)
    a.agent()
    a.connected()
    site.so("S7", "the next agent goes on at once", not any("another agent" in line for line in a.said()), a.said())


SCENARIOS = [
    Scenario("two machines", two),
    Scenario("revocation", revoke),
    Scenario("lost removals", lost),
    Scenario("one that comes back", returned),
    Scenario("no room for a removal", crowded),
    Scenario("killed agents", killed),
    Scenario("two agents", twins),
    Scenario("a removed segment", moved),
    Scenario("engines that fail", engines),
    Scenario("an engine that is full", full),
    Scenario("topologies", topologies),
    Scenario("a hostile engine", nonsense),
    Scenario("what is told", told),
    Scenario("what check tells", checked),
    Scenario("clients that pester", pestered),
    Scenario("an address in use", handed),
    Scenario("answers without end", hanging),
]
