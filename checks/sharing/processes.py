"""Prefork servers and threads: S1 in one process, between processes, and with the tickets that they hand out."""

from __future__ import annotations

import os

from harness import TLS12, VERSIONS, Guest, Scenario, Site, Tour, every_pair, within


def pairs(site: Site, what: str, *options: object, names: tuple[str, ...] = (), tickets: bool = False,
          promises: str = "S1") -> None:
    """Which child resumes whose sessions: all, and without sharing only its own."""
    name = names[-1] if names else "localhost"
    site.family()
    server, [port] = site.prefork(3, *options, names=names)
    for version in VERSIONS:
        tour = Tour(server, port, Guest(version, tickets))
        tour.introduce(names or ("localhost",))
        site.check(promises, f"{what}, {version.name}: each child resumes each child's sessions", tour.crossings(name),
                   every_pair(server))
    site.check("S7", f"{what}: exit status", server.stop(), 0)
    fetched = site.figures().get("fetched", 0)
    site.so("S9", f"{what}: the figures count what was fetched", fetched >= 12, f"{fetched} fetched")

    del site.options["SSLSWEEP_SHARE"]
    server, [port] = site.prefork(3, *options, names=names)
    for version in VERSIONS:
        tour = Tour(server, port, Guest(version, tickets))
        site.check("S10", f"{what}, {version.name}, without sharing: a child resumes its own only",
                   tour.crossings(name), within(server))
    server.stop()


def before(site: Site) -> None:
    pairs(site, "contexts made before the fork")


def late(site: Site) -> None:
    pairs(site, "contexts made in the children", "--late")


def names(site: Site) -> None:
    pairs(site, "two names, a servername callback", names=("one.test", "two.test"))


def tickets(site: Site) -> None:
    site.options["SSLSWEEP_TICKETS"] = "stateful"
    pairs(site, "stateful tickets", "--tickets", tickets=True, promises="S1 S11")


def threads(site: Site) -> None:
    site.family()
    server, ports = site.prefork(1, ports=3)
    for version in VERSIONS:
        guest = Guest(version)
        sessions = [guest.meet(port).session for port in ports]
        resumed = [guest.meet(port, session).resumed for session in sessions for port in ports]
        site.check("S1", f"threads with a context each, {version.name}: each resumes all sessions", resumed, [True] * 9)
    server.stop()
    del site.options["SSLSWEEP_SHARE"]
    server, ports = site.prefork(1, ports=3)
    guest = Guest(TLS12)
    sessions = [guest.meet(port).session for port in ports]
    resumed = [guest.meet(port, session).resumed for session in sessions for port in ports]
    site.check("S10", "threads without sharing: each resumes its own", resumed,
               [of == at for of in ports for at in ports])
    server.stop()


def confined(site: Site) -> None:
    """Children with another root and another user, who can open neither segment nor keys any more."""
    if os.geteuid() != 0:
        return site.left_out("S7", "children in an empty root as nobody", "needs root")
    (site.folder / "empty").mkdir()
    site.host()
    server, [port] = site.prefork(3, "--drop", site.folder / "empty")
    for version in VERSIONS:
        site.check("S1 S7", f"children in an empty root as nobody, {version.name}: each resumes each child's sessions",
                   Tour(server, port, Guest(version)).crossings(), every_pair(server))
    server.stop()


SCENARIOS = [
    Scenario("contexts before the fork", before),
    Scenario("contexts after the fork", late),
    Scenario("two names", names),
    Scenario("stateful tickets", tickets),
    Scenario("threads", threads),
    Scenario("another root and user", confined),
]
