"""The agent as the unit that is installed runs it: under its filter of system calls, as its user, with its command line."""

from __future__ import annotations

import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys

import confined
from confined import Unit
from harness import (PATIENCE, ROOT, Child, Engine, Failure, Machine, Scenario, Site, asked, free_port, key,
                     wait_until)

TEMPLATE = ROOT / "packaging" / "systemd" / "sslsweep-shared.service.in"
PATH = "/run/sslsweep/segment"
NAME = "sslsweep"  # the unit's user and group, and the group of the segment
CHOWN = "SystemCallFilter", "@chown"
# Of nobody: as root, the agent is run as this user and group. A second group stands for one that is not the unit's own.
USER, GROUP, OTHER = 64123, 64124, 64125


def shipped() -> Unit:
    return Unit.read(TEMPLATE.read_text())


class Confined(Machine):
    """A machine whose agent is run by a unit."""

    def __init__(self, site: Site, unit: Unit, *options: object, user: int = USER, group: int = GROUP, groups: tuple[int, ...] = (),
                 for_group: int = GROUP, namespaces: bool = False, lives: bool = True):
        self.unit, self.options, self.for_group, self.lives = unit, (*options, *site.limits()), for_group, lives
        is_root = os.geteuid() == 0
        if not is_root:
            user, self.for_group = os.geteuid(), os.getegid() if for_group == GROUP else for_group
        self.order = unit.order(user, group, list(groups), namespaces)
        # Another user may not reach the folder that it was built in.
        self.program = site.folder / "sslsweep-shared"
        if not self.program.exists():
            shutil.copy(site.programs / "sslsweep-shared", self.program)
        self.folder = site.folder / f"run.{site.machines}"  # RuntimeDirectory=
        self.folder.mkdir(int(unit.last("RuntimeDirectoryMode"), 8))
        if is_root:
            os.chown(self.folder, user, group)
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(self.folder / "notify"))
        os.chmod(self.folder / "notify", 0o666)
        self.notified.settimeout(PATIENCE)
        if lives:
            super().__init__(site)
            return
        self.site, self.path, self.log = site, self.folder / "segment", site.folder / f"machine.dead{site.machines}.log"
        site.machines += 1
        self.agents = []
        self.agent()

    def agent(self) -> Child:
        self.path = self.folder / "segment"
        words = self.unit.command([str(option) for option in self.options])
        assert words[0].startswith("@LIBEXECDIR@/") and words.count(PATH) == words.count(NAME) == 1, words
        given = {words[0]: self.program, PATH: f"{self.path}:1m", NAME: self.for_group}
        child = Child([sys.executable, "-B", confined.__file__, self.order, *(given.get(word, word) for word in words)],
                      self.site.folder, self.log, {"NOTIFY_SOCKET": str(self.folder / "notify")})
        self.site.children.append(child)
        self.agents.append(child)
        if self.lives:
            wait_until(lambda: child.process.poll() is not None or self.path.exists(), "the segment")
            if child.process.returncode is not None:
                raise Failure(f"the agent has ended with {child.process.returncode}")
        return child


def able(site: Site) -> bool:
    """Returns whether a filter can be made here, and says so if not."""
    why = None
    if platform.machine() not in confined.ARCHITECTURES:
        why = f"no filter is written for {platform.machine()}"
    elif not shutil.which("systemd-analyze"):
        why = "there is no systemd-analyze"
    if why:
        site.left_out("S7", "the unit's filter of system calls", why)
    return not why


def works(site: Site, what: str, unit: Unit, **options: object) -> None:
    """An agent carries records and removals under the unit, by TLS and by a name, and ends as it should."""
    engine, plain = Engine(site, "tls-auth-clients", "no", tls=True), Engine(site)
    listen = free_port()
    ca = site.folder / "ca.pem"  # which that user can read
    ca.write_bytes(site.tls.ca.read_bytes())
    a = Confined(site, unit, "--upstream", engine.url, "--ca", ca, "--listen", f"127.0.0.1:{listen}", **options).connected()
    other = Machine(site, "--upstream", engine.url, "--ca", site.tls.ca).connected()
    pid = a.agents[0].pid
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    site.so("S7", f"{what}: it runs under a filter, and gains no rights",
            "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status, status)
    site.check("S9", f"{what}: it says when it is ready", a.notified.recv(100), b"READY=1")
    about = a.path.stat()
    site.check("S6", f"{what}: the segment is for the group", (oct(about.st_mode & 0o7777), about.st_gid), ("0o660", a.for_group))
    a.server("put", "1000", 50, 3600, 0)
    a.published("1000", 50)
    site.check("S1", f"{what}: it publishes", other.gets("1000", 50), 50)
    other.server("put", "2000", 50, 3600, 0)
    other.published("2000", 50)
    site.check("S1", f"{what}: it fetches", a.gets("2000", 50), 50)
    other.server("forget", "1000", 20, 3600)
    wait_until(lambda: a.server.tallies()["Applied"] >= 20, "the removals here")
    site.check("S3", f"{what}: it follows removals", a.server("get", "1000", 50), "30")
    a.server("forget", "1014", 10, 3600)
    wait_until(lambda: other.server("get", "1014", 30) == "20", "the removals there")
    site.check("S3", f"{what}: it sends removals", other.server("get", "1014", 30), "20")
    wait_until(lambda: asked(listen, "/healthz")[0] == 200, "health")
    site.check("S9", f"{what}: it answers /healthz", asked(listen, "/healthz"), (200, "ok\n"))

    def figures() -> bool:
        return f"sslsweep_shared_published_total {a.server.tallies()['Published']}\n" in asked(listen, "/metrics")[1]
    wait_until(figures, "the figures")
    site.so("S9", f"{what}: it answers /metrics", figures(), asked(listen, "/metrics"))
    threads, most = len(os.listdir(f"/proc/{pid}/task")), int(unit.last("TasksMax"))
    site.so("S7", f"{what}: its threads are few", threads * 4 <= most, f"{threads} threads, where {most} are allowed")

    # It connects again, and makes the segment again.
    engine.stop()
    wait_until(lambda: a.server("upstream") == "0", "the end of asking")
    engine.start()
    a.connected()
    a.path.unlink()
    wait_until(a.path.exists, "a new segment")
    a.server = a.process()
    a.connected()

    def arrives() -> bool:
        other.server("put", "3000", 5, 3600, 0)
        return a.fetches("3000", 5) == 5
    wait_until(arrives, "records after a restart")
    site.check("S1", f"{what}: after another engine and another segment it fetches", a.server("get", "3000", 5), "5")
    site.check("S7", f"{what}: it ends by SIGTERM", a.agents[0].end(), 0)

    named = Confined(site, unit, "--upstream", f"redis://localhost:{plain.port}", **options).connected()
    named.server("put", "1", 1, 3600, 0)
    wait_until(lambda: key(1) in plain.keys(), "a record in the engine")
    site.check("S1", f"{what}: an engine by its name, without TLS", plain.keys() & {key(1)}, {key(1)})
    site.check("S7", f"{what}: it ends by SIGTERM, too", named.agents[0].end(), 0)


def as_shipped(site: Site) -> None:
    if able(site):
        works(site, "the unit", shipped())


def foreign_group() -> int | None:
    """A group of this user's that new files do not have."""
    return OTHER if os.geteuid() == 0 else next((group for group in os.getgroups() if group != os.getegid()), None)


def another_group(site: Site) -> None:
    """A drop-in may name another group for the segment."""
    if not able(site):
        return
    group = foreign_group()
    if group is None:
        site.left_out("S6", "another group than the unit's", "this user has one group")
        return
    works(site, "another group", shipped(), groups=(group,), for_group=group)
    if os.geteuid() == 0:
        works(site, "root", shipped(), user=0, group=0, for_group=group)


def killed(site: Site) -> None:
    """What the unit does not allow ends the agent: so the other scenarios would notice."""
    if not able(site):
        return
    engine = Engine(site)

    def status(unit: Unit, **options: object) -> int:
        machine = Confined(site, unit, "--upstream", engine.url, lives=False, **options)
        return machine.agents[0].process.wait(PATIENCE)
    unit = shipped()
    group = foreign_group()
    without = unit.without(*CHOWN)
    site.check("S7", "fchown is allowed, and would not be", [("fchown" in one.allowed()) for one in (unit, without)], [True, False])
    if group is not None:
        site.check("S7", "without @chown a segment for another group ends the agent",
                   status(without, groups=(group,), for_group=group), -signal.SIGSYS)
    for gone in "@network-io", "flock", "linkat", "fchmod", "mmap":
        site.check("S7", f"without {gone} it ends", status(unit.with_lines(("SystemCallFilter", f"~{gone}"))), -signal.SIGSYS)
    own = Confined(site, without, "--upstream", engine.url).connected()
    site.check("S7", "without @chown a segment for the unit's own group is made", own.agents[0].end(), 0)


def own_users(site: Site) -> None:
    """PrivateUsers=: the agent's user and group are there, with root, and nobody else. In /proc it sees processes of its own alone."""
    if not able(site):
        return
    unit = shipped()
    site.check("S7", "the unit has users of its own", unit.last("PrivateUsers"), "yes")
    if os.geteuid() != 0:
        site.left_out("S6", "users of its own", "only root can make such a namespace for another user")
        return
    mount = "mount -t proc -o hidepid=invisible,subset=pid proc /proc"
    for probe in ["--user", "true"], ["--mount", "sh", "-c", mount]:
        if subprocess.run(["unshare", *probe], capture_output=True, check=False).returncode:
            site.left_out("S6", "users of its own", f"a namespace cannot be made here: unshare {' '.join(probe)}")
            return
    works(site, "users of its own", unit, namespaces=True)
    engine = Engine(site)
    dead = Confined(site, unit, "--upstream", engine.url, groups=(OTHER,), for_group=OTHER, namespaces=True, lives=False)
    site.check("S9", "another group cannot be had there, and the agent says so",
               (dead.agents[0].process.wait(PATIENCE), f"given to group {OTHER}" in dead.log.read_text(), dead.path.exists()), (1, True, False))

    # The servers came first, while the agent was not there: a segment of root's alone.
    first = Confined(site, unit, "--upstream", engine.url, namespaces=True).connected()
    site.check("S7", "it ends", first.agents[0].end(), 0)
    first.path.unlink()
    first.path.touch(0o600)
    os.truncate(first.path, 1 << 20)
    site.check("S9", "a segment that a server has made is refused",
               (first.agent().process.wait(PATIENCE), "Permission denied" in first.log.read_text()), (1, True))
    first.path.unlink()
    first.agent()
    wait_until(first.path.exists, "the segment")
    first.server = first.process()
    first.connected()
    site.check("S1", "without it, the agent makes its own", first.server("upstream"), "1")


def read(site: Site) -> None:
    """What systemd makes of the unit."""
    if not able(site):
        return
    unit = shipped()
    site.check("S7", "it is started again for ever",
               (unit.last("Restart"), unit.last("StartLimitIntervalSec")), ("on-failure", "0"))
    file = site.folder / "sslsweep-shared.service"

    def verify(text: str) -> str:
        """What is said about this unit. (Others of the system's are read as well.)"""
        file.write_text(text.replace("@LIBEXECDIR@/sslsweep/sslsweep-shared", str(site.programs / "sslsweep-shared")))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True, check=False,
                              env={**os.environ, "SYSTEMD_UNIT_PATH": f"{site.folder}:"})
        return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if file.name in line)
    text = TEMPLATE.read_text()
    site.check("S7", "systemd has nothing against it", verify(text), "")
    for line, wrong in ("StartLimitIntervalSec=0", "[Service]\nStartLimitIntervalSec=0"), ("TasksMax=", "TasksMost="):
        assert line in text
        site.so("S7", f"and would have: {wrong!r}", verify(text.replace(line, wrong)))


SCENARIOS = [
    Scenario("what systemd makes of it", read),
    Scenario("its filter of system calls", as_shipped),
    Scenario("another group", another_group),
    Scenario("calls that it does not allow", killed),
    Scenario("users of its own", own_users),
]
