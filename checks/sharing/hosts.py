"""openssl s_server in pairs that know nothing of each other but a segment, and pairs with different libssl."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Sequence

from harness import ROOT, VERSIONS, Client, Copy, Program, Scenario, Site, free_port
from support import Server

sys.path.insert(0, str(ROOT / "tools"))
import libssl  # noqa: E402
import s_server  # noqa: E402

OPENSSL = Program("openssl", "version")


def start(site: Site, program: Program, *more: str) -> tuple[Server, int]:
    port = free_port()
    return site.start(program, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", site.certificate.certificate,
                      "-key", site.certificate.key, "-no_ticket", "-www", *more, ports=[port]), port


def crossings(ports: Sequence[int], version: ssl.TLSVersion) -> list[tuple[int, int]]:
    """Pairs (of, at) of places in the list. Everybody was there before, so that each server knows the name."""
    client = Client(version)
    for port in ports:
        client.visit(port)
    found = []
    for of, port in enumerate(ports):
        session = client.visit(port).session
        found += [(of, at) for at, other in enumerate(ports) if client.visit(other, session).resumed]
    return found


def pair(site: Site) -> None:
    site.host()
    started = [start(site, OPENSSL, *more) for more in ((), (), ("-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"))]
    ports = [port for _, port in started]
    for version in VERSIONS:
        site.check("S1 S2", f"a pair, and a third with another list of ciphers, {version.name}",
                   crossings(ports, version), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)])
    for server, _ in started:
        server.stop()


def versions(site: Site) -> None:
    """Servers of the system's libssl and of others: a pair of each, all on one segment."""
    site.host()
    programs, kinds = [OPENSSL, OPENSSL], [0, 0]
    words = os.environ.get("VERSIONS", "").split() or ["3.5"]
    for kind, found in enumerate(libssl.find(words, ("plt",)), 1):
        programs += [Copy.of(OPENSSL, OPENSSL.path(), LD_LIBRARY_PATH=f"{found.prefix}/lib")] * 2
        kinds += [kind] * 2
    started = [start(site, program) for program in programs]
    maps = [f"/proc/{server.pid}/maps" for server, _ in started]
    objects = [{line.split()[-1] for line in open(path, encoding="ascii") if "libssl.so" in line} for path in maps]
    different = {frozenset(it) for it in objects}
    site.check("S2", "as many libssl as versions were asked for", len(different), len(words) + 1)
    for version in VERSIONS:
        wanted = [(of, at) for of in range(len(kinds)) for at in range(len(kinds)) if kinds[of] == kinds[at]]
        site.check("S1 S2", f"libssl of {', '.join(['the system', *words])} never cross, {version.name}",
                   crossings([port for _, port in started], version), wanted)
    for server, _ in started:
        server.stop()


def early(site: Site) -> None:
    """Early data is accepted once by both servers together, and a ticket that was used is dead for both."""
    site.host()
    ports = [free_port(), free_port()]
    for port in ports:
        s_server.start(site, port, "-tls1_3", "-early_data", "-max_early_data", "1000")
    data = site.write("early", "only once\n")
    for port in ports:  # each has to know the name
        s_server.s_client(site, port, site.folder / "first")
    for turn, (of, at) in enumerate([(0, 1), (1, 0), (0, 0), (1, 1)]):
        session = site.folder / f"session{turn}"
        s_server.s_client(site, ports[of], session)
        session.with_suffix(".new").rename(session)
        site.check("S1 S4", f"0-RTT, made by {of}, offered to {at}", s_server.outcome(site, ports[at], session, data),
                   ("Reused", "accepted"))
        site.check("S4", f"replayed to both, made by {of}, used at {at}",
                   [s_server.outcome(site, port, session, data)[1] for port in (*ports, *ports)], ["rejected"] * 4)
    said = site.output.read_text(errors="replace").count("only once")
    site.check("S4", "times that the servers had the data", said, 4)
    for server in site.servers:
        server.stop()


SCENARIOS = [
    Scenario("s_server, a pair", pair),
    Scenario("s_server, several libssl", versions),
    Scenario("s_server, early data", early),
]
