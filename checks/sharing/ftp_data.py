"""FTP servers that take a resumed session for evidence of who the client is. The library stands aside in them; without
that, a stranger with a session of his own gets what somebody else has asked for, as copies by other names show."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable

import ftp
import proftpd
import vsftpd
from harness import PATIENCE, Copy, Program, Scenario, Site, free_port, wait_until
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


def theft(site: Site, program: Program, start: Callable[[Program, int], Server], *user: str) -> None:
    name = program.executable
    site.family()
    for own_name in True, False:
        port = free_port()
        server = start(program if own_name else renamed(program, site, "files_by_tls"), port)
        site.so("S2", f"{name}: its own client gets the file" + ("" if own_name else ", by another name"),
                own(port, *user) == ftp.FILE)
        got = [steal(port, *user) for _ in range(3)]
        if own_name:
            site.check("S2", f"{name}: a stranger with a session of his own gets nothing", got, [""] * 3)
        else:
            site.check("S2", f"{name} by another name, which is not known: the stranger gets the file", got, [ftp.FILE] * 3)
        wait_until(lambda: not server.children(), "the connections ending")
        server.stop()


def own(port: int, *user: str) -> str:
    client = ftp.secured(port, *user)
    text: list[str] = []
    client.retrlines("RETR file", text.append)
    client.quit()
    return "".join(f"{line}\n" for line in text)


def vsftpd_theft(site: Site) -> None:
    # (By default it asks for client certificates, for which nothing is shared either.)
    theft(site, vsftpd.VSFTPD, lambda program, port: vsftpd.start(site, port, program, "ssl_request_cert=NO"))


def proftpd_theft(site: Site) -> None:
    theft(site, proftpd.PROFTPD, lambda program, port: proftpd.start(site, port, program), "tester", "secret")


SCENARIOS = [
    Scenario("vsftpd", vsftpd_theft, ("vsftpd",)),
    Scenario("ProFTPD", proftpd_theft, ("proftpd",)),
]
