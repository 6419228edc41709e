"""Key files of `host:`: rotation without a lost session, and files that are refused."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Callable

import workers
from harness import (PYTHON, ROOT, TLS12, VERSIONS, Guest, Program, Scenario, Site, Tour, every_pair, new_key, within,
                     write_keys)


def share_key(step: str, keys: pathlib.Path) -> None:
    """As an operator does it."""
    subprocess.run([ROOT / "build/bin/sslsweep", "share-key", step, keys], check=True, stdout=subprocess.DEVNULL)


def rotation(site: Site) -> None:
    """Two servers on one segment, which are reloaded one after the other: at each step both resume what both have made,
    by any key that is still listed."""
    segment, keys = site.host()
    name = workers.NAMES[0]
    started = [workers.start(site, workers=1, names=[name]) for _ in range(2)]
    guests = [Guest(version) for version in VERSIONS]
    kept = []

    def both_ways(when: str) -> None:
        for guest in guests:
            for _, port in started:  # the first visit after a reload
                guest.meet(port, name=name)
            sessions = [guest.meet(port, name=name).session for _, port in started]
            got = [guest.meet(port, session, name).resumed for session in sessions for _, port in started]
            site.check("S1 S6", f"{when}, {guest.context.minimum_version.name}: each resumes the sessions of both", got,
                       [True] * 4)

    def older() -> list[bool]:
        return [guest.meet(port, session, name).resumed for guest, session in kept for _, port in started]

    both_ways("at first")
    kept = [(guest, guest.meet(started[0][1], name=name).session) for guest in guests]
    for step in "stage", "promote":
        share_key(step, keys)
        for (nginx, _), which in zip(started, ("one server", "both servers")):
            workers.reload(nginx)
            both_ways(f"{step}, {which} reloaded")
            site.check("S6", f"{step}, {which} reloaded: sessions from before the rotation", older(), [True] * 4)
    first, kept = kept, [(guest, guest.meet(started[0][1], name=name).session) for guest in guests]
    share_key("retire", keys)
    for (nginx, _), which in zip(started, ("one server", "both servers")):
        workers.reload(nginx)
        both_ways(f"retire, {which} reloaded")
    site.check("S6", "retire: sessions that the new key has sealed", older(), [True] * 4)
    before, kept = kept, first
    site.check("S6", "retire: sessions that the old key has sealed", older(), [False] * 4)
    # Another key altogether: nobody opens the former records.
    write_keys(keys, new_key())
    for nginx, _ in started:
        workers.reload(nginx)
    both_ways("replaced")
    kept = before
    site.check("S6", "replaced: sessions of former keys", older(), [False] * 4)
    for contents, what in ("nonsense\n", "malformed"), ("", "empty"):
        sessions = [(guest, guest.meet(started[0][1], name=name).session) for guest in guests]
        keys.write_text(contents)
        for nginx, _ in started:
            workers.reload(nginx)
        both_ways(f"{what} under way, the former keys are kept")
        kept = sessions
        site.check("S6 S7", f"{what} under way: sessions from before", older(), [True] * 4)
    told = site.said().count("the former keys are kept")
    site.so("S9", "each reload with a wrong file is told", told >= 4, told)
    for nginx, _ in started:
        site.check("S7", "exit status", nginx.stop(), 0)
    sealed = site.figures().get("refused: sealed", 0)
    site.so("S9", "the figures count what was refused", sealed >= 4, site.figures())
    site.check("S6", "mode of the segment", oct(segment.stat().st_mode & 0o7777), "0o600")


def refused(site: Site, what: str, message: str, prepare: Callable[[], object], program: Program = PYTHON) -> None:
    """A server that cannot share says so in one line, and serves as if the option were not set."""
    prepare()
    begin = len(site.said())
    server, [port] = site.prefork(2, program=program)
    said = [line for line in site.said()[begin:].splitlines() if line.startswith("sslsweep")]
    site.so("S7", f"{what}: one line says so", len(said) == 1 and message in said[0], said)
    tour = Tour(server, port, Guest(TLS12))
    site.check("S5 S7", f"{what}: each resumes its own sessions", tour.crossings(), within(server))
    site.check("S7", f"{what}: exit status", server.stop(), 0)


def wrong(site: Site) -> None:
    site.options["SSLSWEEP_VERBOSE"] = "0"
    segment, keys = site.host()
    key = new_key()
    ident, secret = key.split()

    def lines(*text: str, mode: int = 0o600) -> Callable[[], None]:
        def write() -> None:
            write_keys(keys, *text)
            keys.chmod(mode)
        return write

    def link() -> None:
        lines(key)()
        keys.rename(keys.with_name("real"))
        keys.symlink_to("real")

    refused(site, "no key file", "No such file", keys.unlink)
    refused(site, "key file readable by others", "mode 0644", lines(key, mode=0o644))
    refused(site, "malformed line", "line 2 is not a key", lines(key, f"{ident} {secret[:-1]}"))
    refused(site, "the same id twice", "line 2 has the id", lines(key, key))
    refused(site, "no key in the file", "the file has no key", lines("# nothing"))
    refused(site, "a symbolic link", "symbolic link", link)
    keys.unlink()
    if os.geteuid() == 0:
        def foreign() -> None:
            lines(key)()
            os.chown(keys, 12345, 12345)
        refused(site, "key file of another user", "belongs to user 12345", foreign)
    else:
        site.left_out("S7", "key file of another user", "needs root")
    site.so("S7", "no segment was made for them", not segment.exists())


def taken(site: Site) -> None:
    """The file of the key is unlinked under a running server: it goes on with what it has."""
    _, keys = site.host()
    server, [port] = site.prefork(2)
    keys.unlink()
    for version in VERSIONS:
        site.check("S1 S7", f"key file removed under way, {version.name}",
                   Tour(server, port, Guest(version)).crossings(), every_pair(server))
    server.stop()


SCENARIOS = [
    Scenario("rotation", rotation),
    Scenario("files that are refused", wrong),
    Scenario("file removed", taken),
]
