#!/usr/bin/env python3
"""workers.py [LIB]: nginx with four workers and its builtin session cache, with LIB preloaded if it is given. By TLS 1.2 and by
TLS 1.3 a client connects 60 times, each time with the session that it has; half-way nginx is told to reload. Prints how
many connections were resumed. nginx's standard error goes to ours. Exits 77 when there is no nginx."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 60
TOP = pathlib.Path(__file__).resolve().parent.parent.parent

CONF = """
daemon off;
{user}
worker_processes {workers};
pid pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    ssl_session_cache builtin:1000;
    ssl_session_tickets off;
    # reuseport: the kernel deals the connections out to the workers.
    server {{ listen 127.0.0.1:{tls12} ssl reuseport; ssl_protocols TLSv1.2; return 200 "ok"; }}
    server {{ listen 127.0.0.1:{tls13} ssl reuseport; ssl_protocols TLSv1.3; return 200 "ok"; }}
}}
"""


def find(program: str) -> tuple[str, dict[str, str]]:
    """Where it is, and its environment. It may be unpacked by tools/setup.sh. Ends with 77 if it is nowhere."""
    executable = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if executable:
        return executable, dict(os.environ)
    tree = TOP / "build/programs/unpacked" / program
    found = [str(path) for path in tree.glob(f"usr/*bin/{program}") if os.access(path, os.X_OK)]
    if not found:
        sys.exit(77)
    folders = [*tree.glob("usr/lib/*-linux-gnu*"), *tree.glob("lib/*-linux-gnu*")]
    return found[0], os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, folders))}


def free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in (one, other)]


def certify(folder: pathlib.Path) -> None:
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, stderr=subprocess.DEVNULL)


def configured(nginx: str, folder: pathlib.Path, number: int, tls12: int, tls13: int) -> list[object]:
    """The command that starts nginx with so many workers, in a folder with a certificate."""
    user = "user root;" if os.geteuid() == 0 else ""  # root's temporary folder is closed to others
    (folder / "nginx.conf").write_text(CONF.format(user=user, workers=number, tls12=tls12, tls13=tls13))
    return [nginx, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]


def wait_for(nginx: subprocess.Popen, folder: pathlib.Path, number: int) -> None:
    while not (folder / "pid").exists() or len(workers(nginx.pid)) < number:
        if nginx.poll() is not None:
            sys.exit(1)
        time.sleep(0.05)


def workers(nginx: int) -> set[str]:
    return set(pathlib.Path(f"/proc/{nginx}/task/{nginx}/children").read_text().split())


def reload(nginx: int) -> None:
    """Until four new workers have taken over."""
    before = workers(nginx)
    os.kill(nginx, signal.SIGHUP)
    end = time.monotonic() + 60
    while len(workers(nginx) - before) < 4 or workers(nginx) & before:
        if time.monotonic() > end:
            sys.exit("nginx did not reload")
        time.sleep(0.05)


class Client:
    def __init__(self, port: int) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.port, self.session = port, None

    def is_resumed(self) -> bool:
        """Of one connection."""
        address, name = ("127.0.0.1", self.port), "localhost"
        with socket.create_connection(address, timeout=20) as plain, \
                self.context.wrap_socket(plain, server_hostname=name, session=self.session) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while connection.recv(4096):
                pass
            self.session = connection.session or self.session
            return connection.session_reused


def main() -> None:
    executable, environment = find("nginx")
    if sys.argv[1:]:
        environment |= {"LD_PRELOAD": sys.argv[1], "SSLSWEEP_SHARE": "family", "SSLSWEEP_VERBOSE": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        certify(folder)
        tls12, tls13 = free_ports()
        command = configured(executable, folder, 4, tls12, tls13)
        with subprocess.Popen(command, env=environment, stdout=sys.stderr) as nginx:
            try:
                wait_for(nginx, folder, 4)
                for step, port in ("tls12_workers", tls12), ("tls13_workers", tls13):
                    client = Client(port)
                    resumed = sum(client.is_resumed() for _ in range(CONNECTIONS // 2))
                    reload(nginx.pid)
                    resumed += sum(client.is_resumed() for _ in range(CONNECTIONS // 2))
                    print(f"step={step} resumed={resumed} connections={CONNECTIONS}")
            finally:
                nginx.send_signal(signal.SIGQUIT)


if __name__ == "__main__":
    main()
