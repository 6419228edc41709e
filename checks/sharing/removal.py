"""Removals and flushes reach every process (S3)."""

from __future__ import annotations

from harness import VERSIONS, Guest, Scenario, Site, Tour


def removed(site: Site) -> None:
    """A connection that ends without a goodbye takes its session with it, as in stock libssl, wherever it was made."""
    site.family()
    server, [port] = site.prefork(3)
    first, second, third = sorted(server.children())
    for version in VERSIONS:
        tour = Tour(server, port, Guest(version))
        session = tour.at(first, path="/abrupt").session
        site.check("S3", f"{version.name}: removed where it was made, and offered to each",
                   [tour.at(at, session).resumed for at in (second, third, first)], [False] * 3)
        session = tour.at(first).session
        met = tour.at(second, session, path="/abrupt")
        site.check("S1", f"{version.name}: before its removal", met.resumed, True)
        # By TLS 1.3 what was removed are the tickets of the second connection.
        ended = met.session if version.name == "TLSv1_3" else session
        site.check("S3", f"{version.name}: removed elsewhere than it was made, and offered to each",
                   [tour.at(at, ended).resumed for at in (third, second, first)], [False] * 3)
    server.stop()
    site.so("S9", "the figures count removals", site.figures().get("removed", 0) >= 4, site.figures())


def flushed(site: Site) -> None:
    """One process flushes all sessions of its context. Those that it has stored are dead for all, and it never resumes
    an older one of others."""
    site.family()
    server, [port] = site.prefork(3)
    first, second, third = sorted(server.children())
    for version in VERSIONS:
        tour = Tour(server, port, Guest(version))
        own, others = tour.at(first).session, tour.at(second).session
        tour.at(first, path="/flush")
        site.check("S3", f"{version.name}: flushed by its process, and offered to each",
                   [tour.at(at, own).resumed for at in (first, second, third)], [False] * 3)
        site.check("S3", f"{version.name}: somebody else's older session, at the one that has flushed, and at another",
                   [tour.at(at, others).resumed for at in (first, third)], [False, True])
        later = tour.at(second).session
        site.check("S1 S3", f"{version.name}: a later session, at the process that has flushed",
                   tour.at(first, later).resumed, True)
    server.stop()
    site.so("S9", "the figures count what was refused", site.figures().get("refused: flushed", 0) >= 2, site.figures())


def tickets_of(site: Site) -> None:
    """Tickets that a resumption of a flushed session has issued are no way around the flush."""
    site.family()
    server, [port] = site.prefork(2)
    first, second = sorted(server.children())
    tour = Tour(server, port, Guest(VERSIONS[1]))
    old = tour.at(second).session
    tour.at(first, path="/flush")
    successor = tour.at(second, old)
    site.check("S1", "resumed by the other process, which has not flushed", successor.resumed, True)
    met = tour.at(first, successor.session)
    site.check("S3", "its new ticket, at the process that has flushed", met.resumed, False)
    server.stop()


SCENARIOS = [
    Scenario("removed without a goodbye", removed),
    Scenario("flushed by one process", flushed),
    Scenario("tickets of flushed sessions", tickets_of),
]
