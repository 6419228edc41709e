"""FTP servers that take a resumed session for evidence of who the client is. The library stands aside in them; without
that, a stranger with a session of his own gets what somebody else has asked for, as copies by other names show."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable

import ftp
import proftpd
import vsftpd
from harness import PATIENCE, ROOT, Copy, Program, Scenario, Site, free_port, wait_until
from support import Server


def steal(port: int, *user: str) -> str:
    """What a stranger gets who comes to the data connection of somebody else's download with his own session."""
    victim, stranger = ftp.secured(port, *user), ftp.secured(port, *user)
    address = victim.makepasv()
    victim.putcmd("RETR file")
    text = b""
    try:
        with socket.create_connection(address, timeout=PATIENCE) as plain, \
                stranger.context.wrap_socket(plain, session=stranger.sock.session, suppress_ragged_eofs=True) as data:
            while block := data.recv(65536):
                text += block
    except OSError:
        pass
    finally:
        victim.close()
        stranger.close()
    return text.decode()


def renamed(program: Program, site: Site, name: str) -> Copy:
    return Copy.of(program, shutil.copy2(program.path(), site.folder / name))


def theft(site: Site, program: Program, start: Callable[[Program, int], Server], succeeds: bool, *user: str) -> None:
    """Whether the theft `succeeds` if the library does not know the program."""
    name = program.executable
    site.family()
    site.options["SSLSWEEP_STATS"] = "1"
    for own_name in True, False:
        port = free_port()
        server = start(program if own_name else renamed(program, site, "files_by_tls"), port)
        site.so("S2", f"{name}: its own client gets the file" + ("" if own_name else ", by another name"),
                own(port, *user) == ftp.FILE)
        got = [steal(port, *user) for _ in range(3)]
        if own_name:
            site.check("S2", f"{name}: a stranger with a session of his own gets nothing", got, [""] * 3)
            site.so("S9", f"{name}: the figures say that its contexts stand aside", aside(server.pid) > 0)
            site.so("S9", f"{name}: one line says so", site.said().count(f"no sharing: {name} ") == 1, site.said())
        else:
            site.check("S2", f"{name} by another name, which is not known: the stranger gets the file",
                       [it == ftp.FILE for it in got], [succeeds] * 3)
            site.check("S9", f"{name} by another name: no context stands aside", aside(server.pid), 0)
        wait_until(lambda: not server.children(), "the connections ending")
        server.stop()


def aside(pid: int) -> int:
    """The contexts of a process that stand aside because of the program, by its published figures."""
    done = subprocess.run([ROOT / "build/bin/sslsweep", "stat", "--json", str(pid)], stdout=subprocess.PIPE, check=True)
    [process] = json.loads(done.stdout)["processes"]
    return process["sharing_aside"]["program"]


def own(port: int, *user: str) -> str:
    client = ftp.secured(port, *user)
    text: list[str] = []
    client.retrlines("RETR file", text.append)
    client.quit()
    return "".join(f"{line}\n" for line in text)


def vsftpd_theft(site: Site) -> None:
    # (By default it asks for client certificates, for which nothing is shared either.)
    theft(site, vsftpd.VSFTPD, lambda program, port: vsftpd.start(site, port, program, "ssl_request_cert=NO"), True)


def proftpd_theft(site: Site) -> None:
    """It compares the session with the control connection's by itself, so the stranger gets nothing in any case. But
    only under its own name does it not even resume his session."""
    log = site.folder / "tls.log"
    theft(site, proftpd.PROFTPD, lambda program, port: proftpd.start(site, port, program), False, "tester", "secret")
    resumed = [line for line in log.read_text().splitlines() if "client reused TLS session for data connection" in line]
    rejected = [line for line in log.read_text().splitlines() if "did not reuse TLS session from control" in line]
    # Its own client's data connection under each name, and the stranger's under the other one.
    site.check("S2", "proftpd by another name: the stranger is resumed, and rejected by the server",
               (len(resumed), len(rejected)), (2 + 3, 3))


SCENARIOS = [
    Scenario("vsftpd", vsftpd_theft, ("vsftpd",)),
    Scenario("ProFTPD", proftpd_theft, ("proftpd",)),
]
