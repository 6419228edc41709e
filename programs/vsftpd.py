"""vsftpd with TLS sessions required: a data connection is let in only if it resumes the control connection's
session. Each connection has processes of its own, which inherit the context by fork."""

from __future__ import annotations

import ftplib
import os
import pwd
import re
import signal

from support import TLS12, Client, Program, Run, Scenario, Server, free_port, holds, wait_until

VSFTPD = Program("vsftpd", "-v")
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
    ftp = Ftp(context=Client(TLS12).context, timeout=30)
    ftp.connect("127.0.0.1", port)
    ftp.login(*user)
    ftp.prot_p()
    return ftp


def anybody() -> pwd.struct_passwd:
    """Whom a server may become: anybody but root who has a home."""
    if os.geteuid() == 0:
        return next(u for u in pwd.getpwall() if u.pw_uid and os.path.isdir(u.pw_dir))
    return pwd.getpwuid(os.geteuid())


def start(run: Run, port: int) -> Server:
    (run.folder / "empty").mkdir()
    (run.folder / "files").mkdir()
    run.write("files/file", FILE)
    user = anybody().pw_name
    conf = run.write("vsftpd.conf", f"""
listen=YES
listen_ipv6=NO
listen_address=127.0.0.1
listen_port={port}
background=NO
run_as_launching_user={"NO" if os.geteuid() == 0 else "YES"}
anonymous_enable=YES
no_anon_password=YES
ftp_username={user}
nopriv_user={user}
anon_root={run.folder}/files
secure_chroot_dir={run.folder}/empty
port_enable=NO
ssl_enable=YES
allow_anon_ssl=YES
force_anon_logins_ssl=YES
force_anon_data_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file={run.certificate.certificate}
rsa_private_key_file={run.certificate.key}
""")
    return run.start(VSFTPD, conf, ports=[port])


def transfers(run: Run, port: int, turn: str) -> None:
    ftp = secured(port)
    lines: list[str] = []
    for _ in range(10):
        ftp.retrlines("RETR file", lines.append)
    run.see(f"lines received, {turn}", len(lines), 10 * FILE.count("\n"))
    run.see(f"data connections resumed, {turn}", ftp.resumed, 10)
    ftp.resuming = False
    try:
        ftp.retrlines("LIST", lines.append)
        answer = "let in"
    except ftplib.Error as error:
        answer = str(error)
    run.see(f"a data connection without resumption, {turn}", bool(re.match("522 .*reuse", answer)) or answer, True)
    ftp.close()


def play(run: Run) -> None:
    port = free_port()
    vsftpd = start(run, port)
    for turn in "first", "second", "third":
        transfers(run, port, turn)
    ftp = secured(port)
    run.weigh(vsftpd)
    ftp.quit()
    wait_until(lambda: not vsftpd.children(), "the connection's processes ending")
    run.see("exit status", vsftpd.stop(), -signal.SIGTERM)
    run.see("counters", run.counters())
    vsftpd.start()
    transfers(run, port, "after the restart")
    run.see("exit status at the end", vsftpd.stop(), -signal.SIGTERM)


# It ends by _exit(), so that sslsweep has no last word.
SCENARIOS = [Scenario(VSFTPD, "session reuse required", play, holds)]
