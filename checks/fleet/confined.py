#!/usr/bin/env python3
"""confined.py ORDER PROGRAM...: runs a program as a unit of systemd's would, without systemd. `Unit` makes the order, in JSON.

A filter of the kernel's (seccomp) does what these settings of the unit say: SystemCallFilter=, SystemCallArchitectures=,
MemoryDenyWriteExecute=, RestrictAddressFamilies=, RestrictNamespaces= and RestrictSUIDSGID=. The names of the sets
are looked up by systemd-analyze, and the numbers in the C library's headers. User, group, umask and NoNewPrivileges= are
in force, too, and PrivateUsers=, ProtectProc= and ProcSubset= where that is asked for. Left out are the other settings for
files and devices, the limits, and CapabilityBoundingSet=: the program has the capabilities of its user, which are none
unless that is root.

A filter was preferred to a trace of the calls (strace): a trace shows the calls of one run, and nothing of what becomes of
the program when one of them is refused.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import functools
import json
import os
import pathlib
import platform
import re
import shlex
import signal
import struct
import subprocess
import sys

# Of linux/seccomp.h, linux/audit.h, linux/bpf_common.h, sys/mman.h and sched.h
ALLOW, ERROR, KILL = 0x7fff_0000, 0x0005_0000, 0x8000_0000
ARCHITECTURES = {"x86_64": 0xc000_003e, "aarch64": 0xc000_00b7}
LOAD, EQUAL, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
WRITE, EXECUTE = 2, 4
NAMESPACES = 0x7e02_0080
SET_ID = 0o6000

# What is refused by its arguments: call, argument, and bits. If the argument has all or any of them, the call fails with this
# error; without an argument it always does.
BY_ARGUMENTS = {
    "MemoryDenyWriteExecute": [("mmap", 2, "all", WRITE | EXECUTE, errno.EPERM), ("mprotect", 2, "all", EXECUTE, errno.EPERM),
                               ("pkey_mprotect", 2, "all", EXECUTE, errno.EPERM), ("shmat", 2, "all", 0o100000, errno.EPERM)],
    "RestrictNamespaces": [("clone", 0, "any", NAMESPACES, errno.EPERM), ("clone3", None, "", 0, errno.ENOSYS),
                           ("unshare", 0, "any", NAMESPACES, errno.EPERM), ("setns", None, "", 0, errno.EPERM)],
    "RestrictSUIDSGID": [("chmod", 1, "any", SET_ID, errno.EPERM), ("fchmod", 1, "any", SET_ID, errno.EPERM),
                         ("fchmodat", 2, "any", SET_ID, errno.EPERM), ("openat2", None, "", 0, errno.ENOSYS)],
}


class Unfit(Exception):
    """The unit has something that is not known here."""


@functools.cache
def sets() -> dict[str, list[str]]:
    """The sets of system calls, each with names and other sets."""
    text = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            members = found[line.strip()] = []
        elif line.startswith(" ") and not line.strip().startswith("#"):
            members.append(line.strip())
    return found


def names(word: str) -> set[str]:
    """The calls of a set, or the one call."""
    if not word.startswith("@"):
        return {word}
    if word not in sets():
        raise Unfit(f"systemd knows no {word}")
    return {name for member in sets()[word] for name in names(member)}


@functools.cache
def numbers() -> dict[str, int]:
    """The numbers of the calls that there are on this machine."""
    text = subprocess.run(["cc", "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"], capture_output=True,
                          text=True, check=True).stdout
    words = dict(re.findall(r"^#define (__NR\w+) (\w+)$", text, re.M))

    def number(word: str) -> int | None:
        return int(word) if word.isdigit() else number(words[word]) if word in words else None
    found = {name.removeprefix("__NR_"): number(word) for name, word in words.items() if name.startswith("__NR_")}
    return {name: at for name, at in found.items() if at is not None}


@dataclasses.dataclass(frozen=True)
class Unit:
    """The settings of a unit, in their order."""
    lines: tuple[tuple[str, str], ...]

    @staticmethod
    def read(text: str) -> Unit:
        return Unit(tuple(re.findall(r"^([A-Z]\w*)=(.*)$", text, re.M)))

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.lines if key == name]

    def last(self, name: str) -> str:
        values = self.all(name)
        if not values:
            raise Unfit(f"the unit has no {name}=")
        return values[-1]

    def with_lines(self, *lines: tuple[str, str]) -> Unit:
        return Unit((*self.lines, *lines))

    def without(self, name: str, value: str) -> Unit:
        if (name, value) not in self.lines:
            raise Unfit(f"the unit has no line {name}={value}")
        return Unit(tuple(line for line in self.lines if line != (name, value)))

    def command(self, options: list[str]) -> list[str]:
        """ExecStart=, with the words of $OPTIONS."""
        return [word for part in shlex.split(self.last("ExecStart"))
                for word in (options if part == "$OPTIONS" else [part])]

    def allowed(self) -> set[str]:
        """The names of the system calls that SystemCallFilter= lets through (systemd.exec(5))."""
        lines = self.all("SystemCallFilter")
        if not lines or lines[0].startswith("~"):
            raise Unfit("the first SystemCallFilter= does not list what is allowed")
        found = names("@default")
        for line in lines:
            for word in line.removeprefix("~").split():
                if line.startswith("~"):
                    found -= names(word)
                else:
                    found |= names(word)
        return found

    def filter(self) -> bytes:
        """The kernel's program."""
        for name, value in {"SystemCallArchitectures": "native", "NoNewPrivileges": "yes", **dict.fromkeys(BY_ARGUMENTS, "yes")}.items():
            if self.last(name) != value:
                raise Unfit(f"the unit has {name}={self.last(name)}")
        if self.all("SystemCallErrorNumber"):
            raise Unfit("the unit has SystemCallErrorNumber=")
        code: list[tuple[int, int, int, int]] = []

        def add(operation: int, operand: int, then: int = 0, otherwise: int = 0) -> None:
            code.append((operation, then, otherwise, operand))

        def argument(at: int) -> int:
            return 16 + 8 * at + (4 if sys.byteorder == "big" else 0)
        add(LOAD, 4)
        add(EQUAL, ARCHITECTURES[platform.machine()], 1)
        add(RETURN, KILL)
        add(LOAD, 0)
        allowed = {numbers()[name] for name in self.allowed() if name in numbers()}
        for name, at, which, bits, error in (rule for rules in BY_ARGUMENTS.values() for rule in rules):
            if numbers().get(name) not in allowed:
                continue
            allowed.discard(numbers()[name])
            add(EQUAL, numbers()[name], 0, {"all": 5, "any": 4, "": 1}[which])
            if which:
                add(LOAD, argument(at))
            if which == "all":
                add(AND, bits)
            if which:
                add(EQUAL if which == "all" else ANY_BIT, bits, 0, 1)
            add(RETURN, ERROR | error)
            if which:
                add(RETURN, ALLOW)
        if (socket := numbers()["socket"]) in allowed:
            allowed.discard(socket)
            families = [int(number) for number in map(FAMILIES.__getitem__, self.last("RestrictAddressFamilies").split())]
            add(EQUAL, socket, 0, 3 + len(families))
            add(LOAD, argument(0))
            for at, family in enumerate(families):
                add(EQUAL, family, len(families) - at)
            add(RETURN, ERROR | errno.EAFNOSUPPORT)
            add(RETURN, ALLOW)
        for number in sorted(allowed):
            add(EQUAL, number, 0, 1)
            add(RETURN, ALLOW)
        add(RETURN, KILL)
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)

    def order(self, user: int, group: int, groups: list[int], namespaces: bool) -> str:
        """`groups` are SupplementaryGroups=. `namespaces`, which only root can make, are for PrivateUsers=, ProtectProc= and
        ProcSubset=."""
        known = {"PrivateUsers": "yes", "ProtectProc": "invisible", "ProcSubset": "pid"}
        if namespaces and any(self.last(name) != value for name, value in known.items()):
            raise Unfit(f"the unit has other values than {known}")
        return json.dumps({"filter": self.filter().hex(), "umask": int(self.last("UMask"), 8), "user": user, "group": group,
                           "groups": groups, "namespaces": namespaces})


FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


LIBC = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> None:
    if getattr(LIBC, function)(*arguments):
        raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")


def prctl(option: int, *arguments: object) -> None:
    call("prctl", ctypes.c_int(option), *(argument if isinstance(argument, ctypes._Pointer) else ctypes.c_ulong(argument)
                                          for argument in (*arguments, 0, 0, 0, 0)[:4]))


def hide_proc() -> None:
    """A /proc as ProtectProc=invisible and ProcSubset=pid have it."""
    call("unshare", 0x2_0000)  # CLONE_NEWNS
    call("mount", None, b"/", None, ctypes.c_ulong(0x4_4000), None)  # MS_REC, MS_PRIVATE
    call("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(0xe), b"hidepid=invisible,subset=pid")  # no set-id, devices, programs


def enter_users(user: int, group: int) -> None:
    """A namespace as PrivateUsers= makes it: root, and this user and group."""
    read, write = os.pipe()
    helper = os.fork()
    if not helper:
        status = 1
        try:
            os.close(write)
            os.read(read, 1)
            for name, own in ("gid_map", group), ("uid_map", user):
                text = "0 0 1\n" + (f"{own} {own} 1\n" if own else "")
                pathlib.Path(f"/proc/{os.getppid()}/{name}").write_text(text)
            status = 0
        finally:
            os._exit(status)
    call("unshare", 0x1000_0000)  # CLONE_NEWUSER
    os.write(write, b"x")
    os.close(read)
    os.close(write)
    if os.waitpid(helper, 0)[1]:
        raise OSError(errno.EPERM, "the users of a namespace cannot be set")


def main() -> None:
    order = json.loads(sys.argv[1])
    if os.geteuid() == 0:
        os.setgroups(order["groups"])
        if order["namespaces"]:
            hide_proc()
            enter_users(order["user"], order["group"])
        os.setresgid(*[order["group"]] * 3)
        os.setresuid(*[order["user"]] * 3)
    os.umask(order["umask"])
    prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG, which a change of the user takes back
    prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    code = bytes.fromhex(order["filter"])
    program = Program(len(code) // 8, code)
    prctl(22, 2, ctypes.pointer(program))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
