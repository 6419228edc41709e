"""FTP servers that want data connections to resume the session of their control connection."""

from __future__ import annotations

import ftplib
import os
import pwd
import re
from typing import Callable

from support import PATIENCE, TLS12, Client, Run, Server, free_port, wait_until

FILE = "a line\n" * 1000


class Ftp(ftplib.FTP_TLS):
    """Offers the control connection's session on data connections."""
    resuming = True
    resumed = 0

    def ntransfercmd(self, cmd, rest=None):
        data, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        data = self.context.wrap_socket(data, session=self.sock.session if self.resuming else None)
        self.resumed += bool(data.session_reused)
        return data, size


def secured(port: int, *user: str) -> Ftp:
    """Logged in, with data connections by TLS as well."""
    ftp = Ftp(context=Client(TLS12).context, timeout=PATIENCE)
    ftp.connect("127.0.0.1", port)
    ftp.login(*user)
    ftp.prot_p()
    return ftp


def anybody() -> pwd.struct_passwd:
    """Whom a server may become: anybody but root who has a home."""
    if os.geteuid() == 0:
        return next(u for u in pwd.getpwall() if u.pw_uid and os.path.isdir(u.pw_dir))
    return pwd.getpwuid(os.geteuid())


def transfers(run: Run, ftp: Ftp, turn: str, refusal: str) -> None:
    lines: list[str] = []
    for _ in range(10):
        ftp.retrlines("RETR file", lines.append)
    run.see(f"lines received, {turn}", len(lines), 10 * FILE.count("\n"))
    run.see(f"data connections resumed, {turn}", ftp.resumed, 10)
    ftp.resuming = False
    try:
        ftp.retrlines("RETR file", lines.append)
        answer = "let in"
    except ftplib.Error as error:
        answer = str(error)
    run.see(f"a data connection without resumption, {turn}", bool(re.match(refusal, answer)) or answer, True)
    ftp.close()


def play(run: Run, start: Callable[[Run, int], Server], user: tuple[str, ...], refusal: str, status: int) -> None:
    """Sessions of several connections, then of a server that was started again. It answers a data connection that
    resumes nothing by `refusal`, a pattern, and ends with `status`."""
    port = free_port()
    server = start(run, port)
    for turn in "first", "second", "third":
        transfers(run, secured(port, *user), turn, refusal)
    ftp = secured(port, *user)
    run.weigh(server)
    ftp.quit()
    wait_until(lambda: not server.children(), "the connection's processes ending")
    run.see("exit status", server.stop(), status)
    run.see("counters", run.counters())
    server.start()
    transfers(run, secured(port, *user), "after the restart", refusal)
    run.see("exit status at the end", server.stop(), status)
