"""Apache httpd with shmcb: a cache of its own, with libssl's turned off. sslsweep must leave it as it is, also when
a reload unloads mod_ssl, and with it libssl, and loads both again."""

from __future__ import annotations

import os
import pwd
import re
import signal
import time
from pathlib import Path

from support import (TLS12, TLS13, Client, Failure, Program, Run, Scenario, free_port, nothing_stored, restart,
                     wait_past, wait_until)

HTTPD = Program("apache2", "-v")


def figures(client: Client, port: int) -> dict[str, int]:
    """From mod_status."""
    text = re.sub("<[^>]*>", "", client.visit(port).text)
    names = "current entries|entries stored since starting|entries replaced since starting|retrieves since starting"
    found = {name: int(value) for name, value in re.findall(rf"({names}): *(\d+)", text)}
    if len(found) != 4:
        raise Failure(f"not all figures on {text}")
    return found


def play(run: Run) -> None:
    port, short = free_port(), free_port()
    modules = (HTTPD.tree() or Path("/")) / "usr/lib/apache2/modules"
    load = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n"
                   for name in ("mpm_event", "authz_core", "authz_host", "socache_shmcb", "ssl", "status"))
    hosts = "".join(f"""
<VirtualHost 127.0.0.1:{p}>
    SSLEngine on
    SSLCertificateFile {run.certificate.certificate}
    SSLCertificateKeyFile {run.certificate.key}
    SSLSessionTickets off
    SSLSessionCacheTimeout {seconds}
</VirtualHost>
""" for p, seconds in ((port, 300), (short, 1)))
    conf = run.write("httpd.conf", f"""
ServerRoot {run.folder}
ServerName localhost
PidFile {run.folder}/pid
DefaultRuntimeDir {run.folder}
ErrorLog {run.folder}/stderr
LogLevel warn
Listen 127.0.0.1:{port}
Listen 127.0.0.1:{short}
{load}
{"User nobody" if os.geteuid() == 0 else ""}
{f"Group #{pwd.getpwnam('nobody').pw_gid}" if os.geteuid() == 0 else ""}
StartServers 1
ServerLimit 1
ThreadsPerChild 4
MaxRequestWorkers 4
MinSpareThreads 1
MaxSpareThreads 4
SSLSessionCache shmcb:{run.folder}/cache(512000)
SetHandler server-status
ExtendedStatus off
{hosts}
""")
    httpd = run.start(HTTPD, "-DFOREGROUND", "-f", conf, ports=[port, short])
    for version in TLS12, TLS13:
        client = Client(version)
        first = client.visit(port)
        run.see(f"resumed, {version.name}", client.visit(port, first.session).resumed, True)
    client = Client(TLS12)
    run.see("resumed of many", client.return_of(client.crowd(200, port), port), 200)
    run.see("figures", figures(client, port))
    soon = client.crowd(100, short)
    wait_past(time.time(), 1)
    run.see("resumed after their time", client.return_of(soon, short), 0)
    before = httpd.children()
    httpd.signal(signal.SIGUSR1)
    wait_until(lambda: (now := httpd.children()) and not now & before, "new children")
    session = client.visit(port).session
    run.see("resumed after the reload", client.visit(port, session).resumed, True)
    run.weigh(httpd)
    restart(run, httpd, client, port)


SCENARIOS = [Scenario(HTTPD, "shmcb (control)", play, nothing_stored)]
