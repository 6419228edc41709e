"""nginx with its builtin cache: workers, server names, reloads, and restarts with a segment of the host."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from harness import VERSIONS, Guest, Met, Scenario, Site, Tour, free_port, shuffled, state, wait_until
from nginx import BUILTIN, NGINX, configure
from support import Server, family, listening

NAMES = ("one.test", "two.test", "three.test")


def virtual_hosts(site: Site, port: int, workers: int, names: Sequence[str], daemon: str) -> list[str]:
    """nginx's arguments for virtual hosts on one port, each with its own certificate. As root, the workers become
    nobody."""
    folder = site.folder / f"nginx.{port}"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    servers = "".join(f"""
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name {name};
        ssl_certificate {site.named(name).certificate};
        ssl_certificate_key {site.named(name).key};
        return 200 "$pid $server_name";
    }}""" for name in names)
    return configure(folder, BUILTIN + servers, workers=workers, daemon=daemon,
                     more="env LD_PRELOAD; env SSLSWEEP_SHARE; env SSLSWEEP_SHARE_KEY; env SSLSWEEP_VERBOSE;")


def start(site: Site, workers: int = 4, names: Sequence[str] = NAMES, port: int = 0) -> tuple[Server, int]:
    port = port or free_port()
    arguments = virtual_hosts(site, port, workers, names, "off")
    server = site.start(NGINX, *arguments, ports=[port], stop_by=signal.SIGQUIT)
    wait_until(lambda: len(server.children()) == workers, "the workers")
    return server, port


def reload(nginx: Server) -> None:
    before = nginx.children()
    nginx.signal(signal.SIGHUP)
    wait_until(lambda: len(now := nginx.children()) == len(before) and not now & before, "new workers")


class Traveller:
    """A client with one session for each name, who always offers the newest."""

    def __init__(self, tour: Tour, name: str):
        self.tour, self.name = tour, name
        self.met: Met | None = None

    def to(self, worker: int) -> bool:
        self.met = self.tour.at(worker, self.met and self.met.session, self.name)
        return self.met.resumed and self.met.name == self.name


def travels(site: Site, what: str, nginx: Server, port: int, shared: bool) -> None:
    """All visits are resumed but one for each worker and name: a worker has to see once what its servername callback
    makes of a name. Without sharing, those to the worker of the last visit."""
    order = shuffled(sorted(nginx.children()), 4)
    firsts = {order.index(worker) for worker in order}
    moves = {0} | {at for at in range(1, len(order)) if order[at] != order[at - 1]}
    for version in VERSIONS:
        for name in NAMES:
            # By the second version they have seen the names.
            full = moves if not shared else firsts if version is VERSIONS[0] else {0}
            traveller = Traveller(Tour(nginx, port, Guest(version)), name)
            site.check("S1" if shared else "S10", f"{what}, {version.name}, {name}: visits that are resumed",
                       [traveller.to(worker) for worker in order], [at not in full for at in range(len(order))])


def workers(site: Site) -> None:
    site.family()
    nginx, port = start(site)
    travels(site, "four workers", nginx, port, shared=True)

    kept = {}
    for version in VERSIONS:
        guest = Guest(version)
        kept[guest] = [(name, guest.meet(port, name=name).session) for name in NAMES for _ in range(5)]
    for turn in 1, 2:
        reload(nginx)
        for guest, sessions in kept.items():
            tour = Tour(nginx, port, guest)
            tour.introduce(NAMES)
            places = sorted(nginx.children()) * 4
            resumed = sum(tour.at(worker, session, name).resumed for worker, (name, session) in zip(places, sessions))
            version = guest.context.minimum_version.name
            site.check("S1 S3", f"sessions resumed after reload {turn}, {version}", resumed, 15)
    site.check("S7", "exit status", nginx.stop(), 0)
    site.so("S9", "the figures count what was fetched", site.figures().get("fetched", 0) >= 60, site.figures())

    del site.options["SSLSWEEP_SHARE"]
    nginx, port = start(site)
    travels(site, "four workers without sharing", nginx, port, shared=False)
    nginx.stop()


def crossing(site: Site) -> None:
    """A session that is offered under another name to another worker. Within a worker that is for libssl and nginx to
    decide; a session of another worker must not be had so."""
    site.family()
    nginx, port = start(site, workers=2)
    first, second = sorted(nginx.children())
    for version in VERSIONS:
        tour = Tour(nginx, port, Guest(version))
        tour.introduce(NAMES)
        got = {}
        for of in NAMES:
            for under in NAMES:
                session = tour.at(first, name=of).session
                met = tour.at(second, session, under)
                got[of, under] = met.resumed, met.name
        site.check("S2 S5", f"a session under each name at the other worker, {version.name}", got,
                   {(of, under): (of == under, under) for of in NAMES for under in NAMES})
    nginx.stop()
    refused = site.figures().get("refused: trust", 0)
    site.so("S9", "the figures count what was refused", refused >= 12, site.figures())


def restarted(site: Site) -> None:
    segment, _ = site.host()
    nginx, port = start(site, workers=2)
    kept = {}
    for version in VERSIONS:
        guest = Guest(version)
        kept[guest] = [(name, guest.meet(port, name=name).session) for name in NAMES for _ in range(4)]
    site.check("S7", "exit status", nginx.stop(), 0)
    nginx, _ = start(site, workers=2, port=port)
    for guest, sessions in kept.items():
        tour = Tour(nginx, port, guest)
        tour.introduce(NAMES)
        places = sorted(nginx.children()) * 6
        resumed = sum(tour.at(worker, session, name).resumed for worker, (name, session) in zip(places, sessions))
        site.check("S1", f"sessions resumed after a restart, {guest.context.minimum_version.name}", resumed, 12)
    nginx.stop()

    # The same names with other certificates: nobody is taken for somebody else.
    for name in NAMES:
        del site._certificates[name]
    nginx, _ = start(site, workers=2, port=port)
    for guest, sessions in kept.items():
        tour = Tour(nginx, port, guest)
        tour.introduce(NAMES)
        resumed = sum(tour.at(min(nginx.children()), session, name).resumed for name, session in sessions)
        site.check("S2", f"sessions resumed by another certificate, {guest.context.minimum_version.name}", resumed, 0)
    nginx.stop()
    site.so("S7", "the segment is still there", segment.is_file())


def upgraded(site: Site) -> None:
    """nginx's live upgrade: the new program inherits the sockets, and the old one ends. (It refuses that while its
    first parent is there, so this one is a daemon.)"""
    site.host()
    name, port = NAMES[0], free_port()
    arguments = virtual_hosts(site, port, 1, [name], "on")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "SSLSWEEP_"))}
    number = site.folder / f"nginx.{port}" / "pid"
    old = number.with_suffix(".oldbin")
    running: list[int] = []

    def started() -> int:
        wait_until(lambda: number.exists() and number.read_text().strip(), "nginx's number")
        running.append(int(number.read_text()))
        return running[-1]
    try:
        with site.errors.open("ab") as errors:
            subprocess.run([NGINX.path(), *arguments], env=environment | NGINX.environment() | site.environment(),
                           stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, check=True)
        first = started()
        wait_until(lambda: listening(port), "nginx listening")
        kept = {guest: [guest.meet(port, name=name).session for _ in range(5)] for guest in map(Guest, VERSIONS)}
        os.kill(first, signal.SIGUSR2)
        wait_until(old.exists, "the new program")
        second = started()
        wait_until(lambda: family(second) - {second}, "its worker")
        os.kill(first, signal.SIGQUIT)
        wait_until(lambda: state(first) in ("gone", "Z"), "the old program's end")
        site.so("S1", "another program serves", second != first)
        for guest, sessions in kept.items():
            guest.meet(port, name=name)
            resumed = sum(guest.meet(port, session, name).resumed for session in sessions)
            site.check("S1", f"resumed after a live upgrade, {guest.context.minimum_version.name}", resumed, 5)
    finally:
        for pid in running:
            if state(pid) not in ("gone", "Z"):
                os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: all(state(pid) in ("gone", "Z") for pid in running), "nginx's end")


SCENARIOS = [
    Scenario("nginx, four workers", workers),
    Scenario("nginx, names offered elsewhere", crossing),
    Scenario("nginx, restarted", restarted),
    Scenario("nginx, live upgrade", upgraded),
]
