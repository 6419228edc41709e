#!/usr/bin/env python3
"""servers.py LIB: unchanged servers with many sessions in libssl's cache, of which one flush removes most: for how long
does that flush hold the lock that handshakes need, and how long do connections take meanwhile? On libssl alone ("stock")
and with sslsweep's library LIB preloaded, in turns. Options by environment:

  SERVERS="stunnel h2o nginx"   which
  ROUNDS=5                      runs of each side

The sessions are stored by one burst of handshakes and expire together; then clients connect at a fixed rate until the
server has flushed. Servers and these clients come before other programs of the machine (nice -15), if root runs this. Times
are reported, medians of the rounds with the smallest and the largest."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "checks" / "programs"))

from support import Certificate, Program, family, free_port, listening, wait_until  # noqa: E402

FOLDER = TOP / "build" / "load-servers"
VISITOR, HOLD = FOLDER / "visitor", FOLDER / "hold.so"
SIDES = ("stock", "sslsweep")
RATE = 200  # connections a second
SLOW = 10_000_000  # nanoseconds

# Lifetime: long enough to store all before the first expires. Probe: until the server has flushed.
Setting = collections.namedtuple("Setting", "program sessions lifetime probe configure")


def stunnel(folder: pathlib.Path, certificate: Certificate, port: int, back: int) -> list[str]:
    (folder / "conf").write_text(f"""
foreground = yes
syslog = no
pid =
debug = err
[server]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{back}
cert = {certificate.both}
options = NO_TICKET
sessionCacheSize = 200000
sessionCacheTimeout = {SERVERS["stunnel"].lifetime}
""")
    return [str(folder / "conf")]


def h2o(folder: pathlib.Path, certificate: Certificate, port: int, back: int) -> list[str]:
    (folder / "index.html").write_text("ok")
    (folder / "conf").write_text(f"""
{"user: root" if os.geteuid() == 0 else ""}
num-threads: 4
ssl-session-resumption: {{mode: cache, cache-store: internal, lifetime: {SERVERS["h2o"].lifetime}}}
listen:
  host: 127.0.0.1
  port: {port}
  ssl: {{certificate-file: {certificate.certificate}, key-file: {certificate.key}, ocsp-update-interval: 0}}
hosts: {{default: {{paths: {{/: {{file.dir: {folder}}}}}}}}}
""")
    return ["-c", str(folder / "conf")]


def nginx(folder: pathlib.Path, certificate: Certificate, port: int, back: int) -> list[str]:
    return nginx_of(folder, certificate, port, 200_000, SERVERS["nginx"].lifetime)


def nginx_of(folder: pathlib.Path, certificate: Certificate, port: int, sessions: int, lifetime: int) -> list[str]:
    paths = "".join(f"{what}_temp_path {folder}/{what};\n" for what in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "conf").write_text(f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    {paths}
    ssl_certificate {certificate.certificate};
    ssl_certificate_key {certificate.key};
    ssl_session_cache builtin:{sessions};
    ssl_session_tickets off;
    ssl_session_timeout {lifetime}s;
    server {{ listen 127.0.0.1:{port} ssl; ssl_protocols TLSv1.2 TLSv1.3; return 200 ok; }}
}}
""")
    return ["-p", str(folder), "-e", "stderr", "-c", str(folder / "conf")]


SERVERS = {
    "stunnel": Setting(Program("stunnel4", "-version"), 20_000, 25, 5, stunnel),
    "h2o": Setting(Program("h2o", "--version"), 20_000, 20, 12, h2o),
    "nginx": Setting(Program("nginx", "-v"), 20_000, 25, 5, nginx),
}


def come_first() -> None:
    if os.geteuid() == 0:
        os.nice(-15)


def visit(*words: object) -> list[str]:
    done = subprocess.run([VISITOR, *map(str, words)], stdout=subprocess.PIPE, text=True, check=False, timeout=150,
                          preexec_fn=come_first if words[0] == "probe" else None)
    if done.returncode != 0:
        sys.exit(f"load-servers: visitor {words[0]} ended with {done.returncode}")
    return done.stdout.splitlines()


def longest_batch(pids: set[int]) -> int:
    """Nanoseconds, of all contexts of these processes."""
    said = subprocess.run([TOP / "build" / "bin" / "sslsweep", "stat", "--prometheus"], stdout=subprocess.PIPE, text=True, check=True)
    found = re.findall(r'^sslsweep_longest_batch_seconds\{.*?\bpid="(\d+)".*?\} (\S+)$', said.stdout, re.M)
    return round(max(float(seconds) for pid, seconds in found if int(pid) in pids) * 1e9)


def one_run(name: str, lib: str | None) -> dict | None:
    """None if the machine was so busy that sessions expired before all were stored."""
    setting, port = SERVERS[name], free_port()
    with tempfile.TemporaryDirectory(prefix="sslsweep-load.") as place:
        folder = pathlib.Path(place)
        folder.chmod(0o755)
        certificate = Certificate.make(folder, "localhost")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "SSLSWEEP_"))}
        environment |= setting.program.environment()
        if lib:
            environment |= {"LD_PRELOAD": lib, "SSLSWEEP_VERBOSE": "1", "SSLSWEEP_STATS": "1"}
        else:
            (folder / "hold").write_bytes(bytes(8))
            environment |= {"LD_PRELOAD": str(HOLD), "HOLD": str(folder / "hold")}
        back = subprocess.Popen([VISITOR, "back"], stdout=subprocess.PIPE, text=True, preexec_fn=come_first)
        server = None
        try:
            words = setting.configure(folder, certificate, port, int(back.stdout.readline()))
            with (folder / "log").open("w") as log:
                server = subprocess.Popen([setting.program.path(), *words], env=environment, stdout=log, stderr=log,
                                          preexec_fn=come_first)
            wait_until(lambda: listening(port), f"{name} listening")
            began = time.monotonic()
            visit("fill", port, setting.sessions)
            filled = time.monotonic()
            if filled - began > setting.lifetime:
                return None
            # h2o flushes by itself as time goes by; the others when 255 sessions were stored after the last has expired.
            time.sleep(max(0, began + setting.lifetime - filled) if name == "h2o" else setting.lifetime + 2)
            seen = [tuple(map(int, line.split())) for line in visit("probe", port, RATE, setting.probe)]
            held = longest_batch(family(server.pid)) if lib else int.from_bytes((folder / "hold").read_bytes(), sys.byteorder)
        finally:
            if server:
                server.terminate()
                server.wait(timeout=30)
            back.kill()
            back.wait()
        took_over = "took over" in (folder / "log").read_text()
    if took_over != bool(lib):
        sys.exit(f"load-servers: sslsweep was not in force, or on the wrong side, in {name}")
    wrong = [line for line in seen if line[0] == line[1]]
    if wrong:
        sys.exit(f"load-servers: {name}: {len(wrong)} connections were resumed where they should not be, or the reverse")
    times = sorted(took for _, _, took in seen)
    return {"filling": filled - began, "held": held, "count": len(times), "slow": sum(t > SLOW for t in times),
            **{f"p{p}": times[int(len(times) * p / 100)] for p in (50, 99)}, "longest": times[-1]}


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}..{max(values):.3g})"


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib = str(pathlib.Path(sys.argv[1]).resolve())
    FOLDER.mkdir(parents=True, exist_ok=True)
    compiler = [*os.environ.get("CC", "cc").split(), "-std=c11", "-D_DEFAULT_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    sources = TOP / "bench" / "load" / "servers"
    subprocess.run([*compiler, "-o", VISITOR, sources / "visitor.c", "-lssl", "-lcrypto"], check=True)
    subprocess.run([*compiler, "-shared", "-fPIC", "-o", HOLD, sources / "hold.c", "-ldl"], check=True)
    results = {}
    for name in (os.environ.get("SERVERS") or " ".join(SERVERS)).split():
        if name not in SERVERS:
            sys.exit(f"load-servers: no server is called {name}; there are {', '.join(SERVERS)}")
        runs: dict[str, list[dict]] = {side: [] for side in SIDES}
        for turn in range(int(os.environ.get("ROUNDS") or 5)):
            for side in SIDES if turn % 2 == 0 else reversed(SIDES):
                held = None
                while held is None:
                    held = one_run(name, lib if side == "sslsweep" else None)
                runs[side].append(held)
                print(f"{name} {side}: {held}", file=sys.stderr, flush=True)
        results[name] = {"version": SERVERS[name].program.version(), "sessions": SERVERS[name].sessions, "runs": runs}
        print(f"\n{name} {results[name]['version']}, {SERVERS[name].sessions:,} sessions, {RATE} connections a second; ms")
        for figure, scale in (("held", 1e6), ("p50", 1e6), ("p99", 1e6), ("longest", 1e6), ("slow", 1)):
            cells = [spread([run[figure] / scale for run in runs[side]]) for side in SIDES]
            words = {"slow": f"longer than {SLOW // 1_000_000} ms", "held": "lock held for"}.get(figure, figure)
            print(f"  {words:<18} stock {cells[0]:<24} sslsweep {cells[1]}", flush=True)
        (FOLDER / "results.json").write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
