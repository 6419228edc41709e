"""The agent's client of the engine, on engines of every shape, and with all that can be wrong with them."""

from __future__ import annotations

import os
import socket
import threading
import time

from harness import ROOT, WEEK, Engine, EngineTalk, Failure, Scenario, Site, cluster, sentinels, wait_until

LIMIT = 20_000  # milliseconds: far above the limits that the client is given, far below waiting for ever


def works(site: Site, what: str, talk: EngineTalk) -> None:
    """Everything that an agent does, once."""
    expiry = int(time.time()) + 3600
    site.check("S1", f"{what}: nothing is there", talk("fetch", 1, 2), "absent absent")
    talk("end")
    site.check("S1", f"{what}: records are published", talk("publish", 1, 300, expiry, 400), "300 0 0")
    site.check("S1", f"{what}: once more, nothing changes", talk("publish", 1, 300, expiry, 400), "0 300 0")
    site.check("S1", f"{what}: they are found", talk("fetch", 1, "12c", "12d"), f"{expiry}:400 {expiry}:400 absent")
    site.check("S3", f"{what}: a shorter life is taken", talk("publish", 2, 1, expiry - 5, 300), "1 0 0")
    site.check("S3", f"{what}: a longer one is not", talk("publish", 2, 1, expiry, 400), "0 1 0")
    site.check("S3", f"{what}: the shorter one is found", talk("fetch", 2), f"{expiry - 5}:300")
    site.check("S3", f"{what}: removal", talk("remove", 1, 200, expiry), "0")
    site.check("S3", f"{what}: what was removed is absent", talk("fetch", 1, "c8", "c9"), f"absent absent {expiry}:400")
    site.check("S3", f"{what}: and cannot be published again", talk("publish", 1, 1, expiry, 400), "0 1 0")
    site.check("S3", f"{what}: everybody hears of it, in order", talk("read", "wait"),
               "gap=0 end=1 9:2 " + " ".join(",".join(f"{name:x}" for name in part)
                                         for part in (range(1, 129), range(129, 201))))
    site.check("S3", f"{what}: and only once", talk("read", "wait"), "gap=0 end=1")
    site.check("S3", f"{what}: no epoch", talk("epoch"), "0")
    for epoch, highest in (7, 7), (6, 7), (8, 8):
        talk("raise", epoch)
        site.check("S3", f"{what}: epoch {epoch}", talk("epoch"), str(highest))
    site.check("S3", f"{what}: the change is told", (talk("changed", 5, "7", "8"), talk("read", "wait")),
               ("", "gap=0 end=1 e7 e8 5:7,8"))
    talk("floor", 1234)
    site.check("S3", f"{what}: all is heard of", talk("read", "wait"), "gap=0 end=1 f1234")
    site.check("S7", f"{what}: what has expired is no error", talk("publish", 999, 1, 1, 400)[:5] != "error", True)
    site.check("S7", f"{what}: it is not there", talk("fetch", 999), "absent")


def alone(site: Site) -> None:
    engine = Engine(site)
    works(site, "one engine", site.talk("--upstream", engine.url))
    expiries = [engine.say("TTL", key) for key in engine.keys() if ":r:" in key]
    site.so("S6", "every key of a record expires", len(expiries) == 300 and min(expiries) > 0, expiries)


def by_tls(site: Site) -> None:
    engine = Engine(site, tls=True, **{})
    identity = ["--cert", site.tls.cert, "--key", site.tls.key]
    works(site, "TLS", site.talk("--upstream", engine.url, "--ca", site.tls.ca, *identity))
    for what, arguments in (("a CA of others", ["--upstream", engine.url, *identity]),
                            ("no certificate", ["--upstream", engine.url, "--ca", site.tls.ca]),
                            ("another name", ["--upstream", engine.url.replace("127.0.0.1", "localhost"), "--ca", site.tls.ca,
                                              *identity]),
                            ("no TLS", ["--upstream", engine.url.replace("rediss", "redis")])):
        site.so("S6", f"TLS, {what}: refused", site.talk(*arguments)("fetch", 1).startswith("error"))
    engine.say("CONFIG", "SET", "tls-cert-file", site.tls.expired)
    said = site.talk("--upstream", engine.url, "--ca", site.tls.ca, *identity)("fetch", 1)
    site.so("S6 S7", "TLS, an expired certificate: refused", said.startswith("error") and "xpired" in said, said)


def user(site: Site) -> None:
    engine = Engine(site, "requirepass", "secret")
    file = site.folder / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    works(site, "a password", site.talk("--upstream", engine.url, "--password-file", file))
    resp = ["--upstream", engine.url]
    site.so("S7", "no password", site.talk(*resp)("fetch", 1).startswith("error"))
    file.write_text("wrong\n")
    said = site.talk(*resp, "--password-file", file)("fetch", 1)
    site.so("S7", "a wrong password", said.startswith("error") and "wrong" not in said.lower().replace("wrongpass", ""), said)


# What docs/fleet.md recommends.
RIGHTS = "user agent on >secret ~sslsweep:* resetchannels -@all +get +set +eval +expiretime +xadd +xread +xrange +xinfo|stream +time +ping"
CLUSTER_RIGHTS = RIGHTS + " +cluster|slots +readonly +asking"
SENTINEL_RIGHTS = RIGHTS + " +role"


def agent(site: Site) -> list[object]:
    """The user with these rights."""
    file = site.folder / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    return ["--user", "agent", "--password-file", file]


def rights(site: Site) -> None:
    """The access list that the documents recommend."""
    text = (ROOT / "docs" / "fleet.md").read_text()
    site.so("S6", "the documents have these rights", RIGHTS.replace(">secret", ">PASSWORD") in text and all(
        more.removeprefix(RIGHTS).strip() in text for more in (CLUSTER_RIGHTS, SENTINEL_RIGHTS)))
    engine = Engine(site, *RIGHTS.split(" ", 1))
    works(site, "few rights", site.talk("--upstream", engine.url, *agent(site)))
    said = site.talk("--upstream", engine.url, *agent(site), "--prefix", "other")("publish", 1, 1, 9, 9)
    site.so("S7", "keys of others are refused", said.startswith("error") and "NOPERM" in said.upper(), said)


def of_three(site: Site) -> None:
    nodes = cluster(site, 3, *CLUSTER_RIGHTS.split(" ", 1))
    talk = site.talk("--cluster", *agent(site), "--upstream", *(node.url for node in nodes))
    works(site, "a Cluster", talk)
    expiry = int(time.time()) + 3600
    talk("publish", 5000, 100, expiry, 100)
    # One slot after the other moves to another node; some are on their way.
    names = [f"{name:032x}" for name in range(0x5000, 0x5064)]
    talk("publish", "5000", 100, expiry, 100)
    moved = 0
    ids = [node.say("CLUSTER", "MYID").decode() for node in nodes]
    for name in names[:30]:
        slot = nodes[0].say("CLUSTER", "KEYSLOT", f"sslsweep:r:{name}")
        if not slot < 16384 // 3:
            continue
        nodes[0].say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        nodes[1].say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        keys = nodes[0].say("CLUSTER", "GETKEYSINSLOT", slot, 100)
        nodes[0].say("MIGRATE", "127.0.0.1", nodes[1].port, "", 0, 1000, "KEYS", *keys)
        moved += 1
        if moved % 2:
            for node in nodes:
                node.say("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
    site.so("S1", "a Cluster: slots have moved", moved > 2, moved)
    site.check("S1", "a Cluster: records are found wherever they are", set(talk("fetch", *names).split()), {f"{expiry}:100"})
    nodes[2].stop()
    said = [talk("fetch", *names), talk.took]
    site.so("S7", "a Cluster, a node dies: an error in time", said[0].startswith("error") and said[1] < LIMIT, said)
    nodes[2].start()
    wait_until(lambda: not talk("fetch", *names).startswith("error"), "the Cluster again")
    site.so("S7", "a Cluster, a node is back: the others' records are found",
            talk("fetch", *names).split().count(f"{expiry}:100") > 50, talk("fetch", *names))


def behind_sentinels(site: Site) -> None:
    group = sentinels(site)
    for engine in group.primary, group.replica:
        engine.say("ACL", "SETUSER", *SENTINEL_RIGHTS.split()[1:])
    arguments = ["--sentinel", "fleet", *agent(site), "--upstream", *(one.url for one in group.sentinels)]
    talk = site.talk(*arguments)
    works(site, "sentinels", talk)
    expiry = int(time.time()) + 3600
    talk("publish", 5000, 10, expiry, 100)
    site.check("S1", "sentinels: replicated", group.primary.say("WAIT", 1, 5000), 1)
    group.primary.child.pause()
    said = talk("fetch", 5000)
    site.so("S7", "sentinels, the primary hangs: an error in time", said.startswith("error") and talk.took < LIMIT, said)
    group.sentinels[0].child.pause()
    wait_until(lambda: b"role:master" in group.replica.say("INFO", "replication"), "the failover")
    wait_until(lambda: not talk("fetch", 5000).startswith("error"), "the new primary")
    site.check("S1", "sentinels, after the failover: records are found", talk("fetch", 5000), f"{expiry}:100")
    site.check("S1", "sentinels, after the failover: records are published", talk("publish", 6000, 10, expiry, 100), "10 0 0")
    group.primary.child.resume()
    group.sentinels[0].child.resume()
    said = site.talk("--sentinel", "nobody", "--upstream", group.sentinels[1].url)("fetch", 1)
    site.so("S7", "sentinels, an unknown name", said.startswith("error"), said)


def faults(site: Site) -> None:
    expiry = int(time.time()) + 3600
    engine = Engine(site)
    talk = site.talk("--upstream", engine.url)
    talk("end")
    talk("publish", 1, 10, expiry, 400)

    engine.child.pause()
    said = talk("fetch", 1)
    site.so("S7", "stopped (SIGSTOP): an error in time", said.startswith("error") and talk.took < LIMIT, [said, talk.took])
    said = talk("fetch", 1)
    site.so("S7", "still stopped, connecting: an error in time", said.startswith("error") and talk.took < LIMIT, [said, talk.took])
    engine.child.resume()
    site.check("S7", "goes on: the record is found", talk("fetch", 1), f"{expiry}:400")

    engine.say("CONFIG", "SET", "maxmemory", 1)
    said = talk("publish", 100, 10, expiry, 400)
    site.so("S7", "full: an error", said.startswith("error") and "OOM" in said, said)
    said = talk("remove", 1, 1, expiry)
    site.so("S7", "full: a removal fails, too", said.startswith("error") and "OOM" in said, said)
    site.check("S7", "full: records are found", talk("fetch", 2), f"{expiry}:400")
    engine.say("CONFIG", "SET", "maxmemory", 0)
    site.check("S7", "room again: published", talk("publish", 100, 10, expiry, 400), "10 0 0")

    engine.say("REPLICAOF", "127.0.0.1", free := Engine(site).port)
    wait_until(lambda: b"master_link_status:up" in engine.say("INFO", "replication"), f"a replica of {free}")
    said = talk("publish", 200, 1, expiry, 400)
    site.so("S7", "read-only: an error", said.startswith("error") and "eadOnly" in said or "READONLY" in said, said)
    engine.say("REPLICAOF", "NO", "ONE")
    site.check("S7", "a primary again: published", talk("publish", 200, 1, expiry, 400), "1 0 0")

    # Whoever has the longer life has to hear of it, so nothing changes before that is told.
    talk("publish", 3, 1, expiry, 400)
    engine.say("ACL", "SETUSER", "default", "-xadd")
    said = talk("publish", 3, 1, expiry - 5, 300)
    site.so("S3", "a shorter life cannot be told: an error", said.startswith("error") and "NOPERM" in said.upper(), said)
    site.check("S3", "a shorter life cannot be told: not taken", talk("fetch", 3), f"{expiry}:400")
    engine.say("ACL", "SETUSER", "default", "+xadd")
    talk("read", "now")
    site.check("S3", "it can be told: taken", (talk("publish", 3, 1, expiry - 5, 300), talk("fetch", 3), talk("read", "wait")),
               ("1 0 0", f"{expiry - 5}:300", "gap=0 end=1 9:3"))

    engine.say("RPUSH", f"sslsweep:r:{77:032x}", "x")
    site.check("S7", "another type under a name: unusable, and the others are found", talk("fetch", "4d", "200"),
               f"unusable {expiry}:400")
    site.check("S7", "another type under a name: refused, and the others are stored",
               talk("publish", "4c", 3, expiry, 400), "2 0 1")
    talk("read", "now")
    never = 2 ** 64 - 1
    site.check("S7", "a removal until a time that the engine refuses: told, and no error",
               (talk("remove", "50", 2, never), talk("read", "wait")), ("2", "gap=0 end=1 50,51"))
    site.check("S7", "a record until such a time: refused, and no error", talk("publish", "52", 1, never, 400), "0 0 1")
    engine.say("SET", f"sslsweep:r:{78:032x}", b"x" * 5000)
    engine.say("SET", f"sslsweep:r:{79:032x}", b"short")
    site.check("S7", "too long and too short: unusable", talk("fetch", "4e", "4f"), "unusable unusable")
    engine.say("DEL", "sslsweep:{fleet}:removed")
    engine.say("SET", "sslsweep:{fleet}:removed", "no stream")
    for words in (["read", "wait"], ["remove", 2, 1, expiry], ["end"]):
        said = talk(*words)
        site.so("S7", f"no stream: {words[0]} says so", said.startswith("error") and "WRONGTYPE" in said, said)
    engine.say("SET", "sslsweep:{fleet}:epoch", "nonsense")
    site.check("S7", "an epoch that is no number", talk("epoch"), "0")

    engine.stop()
    said = talk("fetch", 1)
    site.so("S7", "gone: an error in time", said.startswith("error") and talk.took < LIMIT, [said, talk.took])
    engine.start()
    site.check("S7", "back, and empty", talk("fetch", 1), "absent")


def gaps(site: Site) -> None:
    """Whoever may have missed a removal knows it."""
    expiry = int(time.time()) + 3600
    engine = Engine(site)
    talk = site.talk("--upstream", engine.url, "--removals", 1)
    site.check("S3", "no stream yet", talk("read", "now"), "gap=0 end=1")
    talk("remove", 1, 1, expiry)
    site.check("S3", "its first entry", talk("read", "now"), "gap=0 end=1 1")
    for name in range(2, 300):
        talk("remove", f"{name:x}", 1, expiry)
    site.so("S3", "trimmed beyond our place: a gap", talk("read", "now").startswith("gap=1"))
    while "end=1" not in talk("read", "now"):
        pass
    site.check("S3", "after that: none", talk("read", "now"), "gap=0 end=1")

    talk = site.talk("--upstream", engine.url)
    talk("end")
    talk("remove", 500, 1, expiry)
    engine.say("SAVE")
    site.check("S3", "before the snapshot", talk("read", "now"), "gap=0 end=1 500")
    talk("remove", 501, 1, expiry)
    site.check("S3", "after the snapshot", talk("read", "now"), "gap=0 end=1 501")
    engine.stop()
    engine.start()
    site.check("S3", "restart from an old snapshot: a gap", talk("read", "now").split()[0], "error:")
    site.check("S3", "restart from an old snapshot: a gap", talk("read", "now"), "gap=1 end=1")
    site.check("S3", "once", talk("read", "now"), "gap=0 end=1")
    engine.say("FLUSHALL")
    site.check("S3", "flushed: a gap", talk("read", "now"), "gap=1 end=1")
    site.check("S3", "once", talk("read", "now"), "gap=0 end=1")
    talk("remove", 502, 1, expiry)
    site.check("S3", "and goes on", talk("read", "now"), "gap=0 end=1 502")


def trickle(site: Site) -> None:
    """An engine that answers slowly, with nonsense, or without end."""
    site.limit = 300
    listener = socket.create_server(("127.0.0.1", 0))
    answers: list[bytes] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            connection.settimeout(5)
            try:
                connection.recv(65536)
                for answer in answers:
                    connection.sendall(answer)
                    time.sleep(0.01)
                connection.recv(65536)
            except OSError:
                pass
            finally:
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
    setup = [b"+OK\r\n+OK\r\n"]
    for what, said in {
        "nothing": [], "half of a line": [b"$40"], "garbage": [os.urandom(2000).replace(b"\n", b" ") + b"\r\n"],
        "a length beyond all memory": [b"$999999999999999999\r\nxx"], "a negative length": [b"$-7\r\n"],
        "an array beyond all memory": [b"*999999999999\r\n"], "deep arrays": [b"*1\r\n" * 20000],
        "an error": [b"-ERR \x1b[31m" + b"x" * 5000 + b"\r\n"], "a number": [b":7\r\n"],
        "a map": [b"%1\r\n+a\r\n+b\r\n"], "end": [b"-"],
    }.items():
        answers[:] = setup + said
        for words in (["fetch", 1], ["publish", 1, 1, WEEK, 10], ["read", "now"], ["epoch"]):
            talk = site.talk("--upstream", url)
            try:
                answer = talk(*words)
            except Failure as failure:
                answer = f"it has ended: {failure}"
            site.so("S7", f"hostile, {what}: {words[0]} ends in time",
                    talk.took < LIMIT and "ended" not in answer and answer.isprintable() and len(answer) < 400, answer)
            talk.child.end()


SCENARIOS = [
    Scenario("alone", alone),
    Scenario("TLS", by_tls),
    Scenario("a password", user),
    Scenario("rights", rights),
    Scenario("a Cluster", of_three),
    Scenario("sentinels", behind_sentinels),
    Scenario("faults", faults),
    Scenario("gaps", gaps),
    Scenario("nonsense", trickle),
]
