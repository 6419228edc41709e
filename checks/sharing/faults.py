"""What can be wrong at the start (S7): the segment, its room, the libraries. The server says so in one line, and serves
as if it did not share."""

from __future__ import annotations

import ctypes
import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable

import keys
from harness import PYTHON, TLS12, VERSIONS, Copy, Guest, Scenario, Site, Tour, every_pair, only, within


def segments(site: Site) -> None:
    site.options["SSLSWEEP_VERBOSE"] = "0"
    segment, _ = site.host("1m")
    server, [port] = site.prefork(2)
    site.check("S1", "a good segment", Tour(server, port, Guest(TLS12)).crossings(), every_pair(server))
    server.stop()
    good = segment.read_bytes()

    def holds(contents: bytes, mode: int = 0o600, owner: int = -1) -> Callable[[], None]:
        def write() -> None:
            segment.unlink()
            segment.touch(mode)
            segment.chmod(mode)
            os.chown(segment, owner, owner)
            segment.write_bytes(contents)
        return write

    def pipe() -> None:
        segment.unlink()
        os.mkfifo(segment, 0o600)

    def link() -> None:
        segment.unlink()
        real = segment.with_name("real")
        real.write_bytes(good)
        real.chmod(0o600)
        segment.symlink_to(real)

    def other(at: int, value: int) -> bytes:
        changed = bytearray(good)
        changed[at] ^= value
        return bytes(changed)

    keys.refused(site, "segment truncated", "bytes instead of", holds(good[:len(good) // 2]))
    keys.refused(site, "empty file", "bytes instead of", holds(b""))
    keys.refused(site, "foreign file of the same size", "is not a segment", holds(bytes(len(good))))
    keys.refused(site, "segment of another layout", "has layout", holds(other(8, 64)))
    keys.refused(site, "another geometry in the header", "does not fit its size", holds(other(24, 1)))
    keys.refused(site, "segment that others may read", "mode 0640", holds(good, 0o640))
    if os.geteuid() == 0:
        keys.refused(site, "segment of another user", "belongs to user 12345", holds(good, owner=12345))
    else:
        site.left_out("S7", "segment of another user", "needs root")
    keys.refused(site, "a pipe in place of the segment", "not a regular file", pipe)
    keys.refused(site, "a link in place of the segment", "cannot be used", link)
    site.options["SSLSWEEP_SHARE"] = f"host:{site.folder}/nowhere/sessions:1m"
    keys.refused(site, "no folder for the segment", "cannot be used", lambda: None)


def room(site: Site) -> None:
    """A file system that has no room for the segment, in a mount namespace of the server's own."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        return site.left_out("S7", "a file system without room", "needs a mount namespace")
    site.options["SSLSWEEP_VERBOSE"] = "0"
    site.host("1m")
    small = site.folder / "small"
    small.mkdir()
    script = site.folder / "python3"
    script.write_text("#!/bin/sh\nunset LD_PRELOAD\n"
                      f"exec unshare --mount sh -c 'mount -t tmpfs -o size=256k none {small} && "
                      f"LD_PRELOAD={site.lib} exec {PYTHON.path()} \"$@\"' sh \"$@\"\n")
    script.chmod(0o755)
    site.options["SSLSWEEP_SHARE"] = f"host:{small}/sessions:1m"
    site.options["LD_PRELOAD"] = ""
    keys.refused(site, "no room for the segment", "no room for the file", lambda: None, program=Copy.of(PYTHON, script))


def limited(site: Site) -> None:
    """A limit of the size of files, for which the kernel would end the process."""
    site.options["SSLSWEEP_VERBOSE"] = "0"
    site.host("1m")
    script = site.folder / "python3"
    script.write_text(f"#!/bin/sh\nulimit -f 64\nLD_PRELOAD={site.lib} exec {PYTHON.path()} \"$@\"\n")
    script.chmod(0o755)
    site.options["LD_PRELOAD"] = ""
    keys.refused(site, "the segment is larger than files may be", "no room for the file", lambda: None,
                 program=Copy.of(PYTHON, script))


def maps(pid: int) -> str:
    return pathlib.Path(f"/proc/{pid}/maps").read_text()


def libraries(site: Site) -> None:
    site.options["SSLSWEEP_VERBOSE"] = "0"
    site.family()
    folder = site.folder / "lib"
    folder.mkdir()
    core = pathlib.Path(os.path.realpath(site.lib))
    [share] = {pathlib.Path(os.path.realpath(path)) for path in core.parent.glob("libsslsweep-share.so.*")}
    soname = next(path.name for path in core.parent.glob("libsslsweep-share.so.*") if path.is_symlink())
    site.lib = pathlib.Path(shutil.copy(core, folder / "libsslsweep.so"))

    try:
        ctypes.CDLL(soname)
    except OSError:
        keys.refused(site, "no share library", "cannot be opened", lambda: None)
        (folder / soname).write_bytes(b"no library")
        keys.refused(site, "a share library that is none", "cannot be opened", lambda: None)
    else:
        site.left_out("S7", "no share library", "one is installed, which the loader finds")
    version = core.name.partition(".so.")[2].encode()
    contents = share.read_bytes()
    other = version[:-1] + bytes([version[-1] + 1])
    (folder / soname).write_bytes(contents.replace(version + b"\0", other + b"\0"))
    site.so("S7", "the share library's version can be changed", contents != (folder / soname).read_bytes())
    keys.refused(site, "a share library of another version", f"is version {other.decode()}, and this", lambda: None)

    # Without the option nothing is opened, and what is wrong is of no interest.
    disabled = {"SSLSWEEP_SHARE": "nonsense", "SSLSWEEP_DISABLE": "1"}
    for settings, what in ({}, "sharing off"), (disabled, "SSLSWEEP_DISABLE"):
        shutil.copy(share, folder / soname)
        site.options = {"SSLSWEEP_VERBOSE": "0"} | settings
        begin = len(site.said())
        server, [port] = site.prefork(2)
        site.check("S10", f"{what}: the share library is not loaded", "libsslsweep-share" in maps(server.pid), False)
        site.check("S10", f"{what}: no message", site.said()[begin:], "")
        tour = Tour(server, port, Guest(TLS12))
        site.check("S10", f"{what}: each resumes its own sessions", tour.crossings(), within(server))
        server.stop()
    for value in "nonsense", "family:1", "family:9z", "host:relative", "host:/absolute":
        site.options = {"SSLSWEEP_VERBOSE": "0", "SSLSWEEP_SHARE": value}
        keys.refused(site, f"SSLSWEEP_SHARE={value}", "", lambda: None)

    site.options = {}
    site.family()
    server, [port] = site.prefork(2)
    site.so("S1", "the share library is loaded", "libsslsweep-share" in maps(server.pid))
    tour = Tour(server, port, Guest(TLS12))
    site.check("S1", "with both libraries in another folder", tour.crossings(), every_pair(server))
    server.stop()


def full(site: Site) -> None:
    """A small segment, full of records and then of removed ones: fewer sessions are resumed, and nothing fails."""
    site.family("20k")
    server, [port] = site.prefork(2)
    first, second = sorted(server.children())
    for version in VERSIONS:
        guest = Guest(version)
        with only(server, first):
            sessions = [guest.meet(port).session for _ in range(80)]
        with only(server, second):
            elsewhere = [guest.meet(port, session).resumed for session in reversed(sessions)]
        with only(server, first):
            there = [guest.meet(port, session).resumed for session in sessions]
        site.check("S1", f"{version.name}, full of records: the newest of 80 is resumed elsewhere", elsewhere[0], True)
        site.so("S5 S7", f"{version.name}, full of records: not all are", not all(elsewhere), elsewhere)
        site.check("S5 S7", f"{version.name}, full of records: all are resumed where they were made", sum(there), 80)
    for version in VERSIONS:
        guest = Guest(version)
        with only(server, first):
            for _ in range(80):
                guest.meet(port, path="/abrupt")
            sessions = [guest.meet(port).session for _ in range(20)]
        with only(server, second):
            resumed = [guest.meet(port, session).resumed for session in sessions]
        site.check("S3 S5 S7", f"{version.name}, full of what was removed: nothing is resumed, and nobody fails",
                   resumed, [False] * 20)
    site.check("S7", "exit status", server.stop(), 0)
    figures = site.figures()
    site.so("S9", "the figures count sessions without room", figures.get("not published: no room", 0) > 0, figures)


SCENARIOS = [
    Scenario("segments that are refused", segments),
    Scenario("no room", room),
    Scenario("limited files", limited),
    Scenario("libraries and options", libraries),
    Scenario("full", full),
]
