"""vsftpd with TLS sessions required: a data connection is let in only if it resumes the control connection's
session. Each connection has processes of its own, which inherit the context by fork."""

from __future__ import annotations

import os
import signal

import ftp
from support import Program, Run, Scenario, Server, holds

VSFTPD = Program("vsftpd", "-v")


def start(run: Run, port: int, program: Program = VSFTPD, more: str = "") -> Server:
    (run.folder / "empty").mkdir(exist_ok=True)
    (run.folder / "files").mkdir(exist_ok=True)
    run.write("files/file", ftp.FILE)
    user = ftp.anybody().pw_name
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
{more}
""")
    return run.start(program, conf, ports=[port])


def play(run: Run) -> None:
    ftp.play(run, start, user=(), refusal="522 .*reuse", status=-signal.SIGTERM)


# It ends by _exit(), so that sslsweep has no last word.
SCENARIOS = [Scenario(VSFTPD, "session reuse required", play, holds)]
