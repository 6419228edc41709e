"""ProFTPD with mod_tls, which wants data connections to resume the control connection's session unless told otherwise.
Each connection has a process of its own, which inherits the context by fork."""

from __future__ import annotations

import grp
import os
import pathlib
import subprocess

import ftp
from support import Program, Run, Scenario, Server

PROFTPD = Program("proftpd", "-v")


def start(run: Run, port: int, program: Program = PROFTPD) -> Server:
    (run.folder / "files").mkdir(exist_ok=True)
    run.write("files/file", ftp.FILE)
    user = ftp.anybody()
    secret = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, text=True, check=True).stdout.strip()
    passwords = run.write("passwd", f"tester:{secret}:{user.pw_uid}:{user.pw_gid}::{run.folder}/files:/bin/sh\n")
    os.chmod(passwords, 0o600)
    modules = (PROFTPD.tree() or pathlib.Path("/")) / "usr/lib/proftpd"
    conf = run.write("proftpd.conf", f"""
ModulePath {modules}
LoadModule mod_tls.c
ServerType standalone
ServerName tests
DefaultAddress 127.0.0.1
Port {port}
SocketBindTight on
UseIPv6 off
User {user.pw_name}
Group {grp.getgrgid(user.pw_gid).gr_name}
PidFile {run.folder}/pid
ScoreboardFile {run.folder}/scoreboard
DelayTable none
WtmpLog off
AuthOrder mod_auth_file.c
AuthUserFile {passwords}
RequireValidShell off
UseFtpUsers off
TLSEngine on
TLSRequired on
TLSProtocol TLSv1.2
TLSSessionTickets off
TLSLog {run.folder}/tls.log
TLSECCertificateFile {run.certificate.certificate}
TLSECCertificateKeyFile {run.certificate.key}
""")
    return run.start(program, "-n", "-c", conf, ports=[port])


def play(run: Run) -> None:
    ftp.play(run, start, user=("tester", "secret"), refusal="425 ", status=0)


def found(run: Run) -> None:
    """Its processes end by _exit(), so that sslsweep has no last word, and empty their caches before that."""
    hits = run.counters().get("hits", 0)
    run.need(f"libssl has found sessions: {hits}", hits >= 40)
    run.need("and holds none itself", all(c["held"] <= 1 for c in run.contexts()))


SCENARIOS = [Scenario(PROFTPD, "session reuse required", play, found)]
