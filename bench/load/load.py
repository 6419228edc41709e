#!/usr/bin/env python3
"""load.py LIB: a threaded TLS server with a million sessions of mixed timeouts, resumption from several client
processes at a fixed rate, and a flush every other second: on libssl alone ("stock") and with sslsweep's library LIB
preloaded, in turns. What must hold is checked; times are only reported. Options by environment:

  MINUTES=4                     about how long the whole of it takes
  LIBSSL="system 1.1.1 3.5 4.0" which libssl; "system" if not given
  SESSIONS=1000000              how many the server holds at least, from first to last
"""

from __future__ import annotations

import bisect
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(TOP / "bench"))

import libraries  # noqa: E402
import run as bench  # noqa: E402

FOLDER = TOP / "build" / "load"
SIDES = ("stock", "sslsweep")
CLIENTS, RATE = 4, 125  # processes; connections a second of each
FLUSH_EVERY, FLUSHED = 2, 50_000  # seconds; sessions that one flush removes, about
SPREAD, TIMEOUT = 600, 7200  # seconds: the mixed timeouts are 1 to SPREAD, that of sessions to be resumed
WARM_UP = 33  # connections that each client makes before it is measured
STORED_MORE = 9  # sessions of random timeouts at the end
DEFAULT_MINUTES = 4
OVERHEAD = 12  # seconds of one run that are not the load
PERCENTILES = (50, 75, 90, 95, 98, 99, 99.5, 99.9, 100)

# Bounds on memory: generous, because neither malloc nor the number of handshakes is the same twice.
MORE_THAN_STOCK = 1.25  # the peak, over stock's
EACH_MADE = 2048  # bytes of a session that a handshake made
SLACK = 64 << 20
LEFT_OF_PEAK = 0.15  # once everything is flushed, trimmed


def sources() -> list[pathlib.Path]:
    return [*sorted(HERE.glob("*.c")), TOP / "bench" / "pool.c", TOP / "bench" / "handshakes.c"]


class Settings:
    def __init__(self) -> None:
        self.minutes = float(os.environ.get("MINUTES") or DEFAULT_MINUTES)
        self.libssl = (os.environ.get("LIBSSL") or "system").split()
        self.sessions = int(os.environ.get("SESSIONS") or 1_000_000)
        sides = 2 * len(self.libssl)
        self.rounds = max(1, min(5, round(self.minutes * 60 / sides / 45)))
        self.seconds = max(10, min(60, int(self.minutes * 60 / sides / self.rounds) - OVERHEAD))
        if self.minutes <= 0 or self.sessions < 100_000:
            sys.exit("load: MINUTES is a number above 0, SESSIONS one from 100000 on")

    @property
    def flushes(self) -> int:
        return self.seconds // FLUSH_EVERY - 1

    @property
    def restored(self) -> int:
        return self.sessions + self.flushes * FLUSHED * 21 // 20  # steps are whole seconds: a little more

    def step(self) -> int:
        """By so many seconds a flush is later than the one before, so that it finds enough to remove."""
        return max(1, FLUSHED * SPREAD // self.restored)


class Server:
    """The program of server.c, and what it answers."""

    def __init__(self, library: libraries.Library, lib: str | None) -> None:
        environment = {
            key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "LD_LIBRARY_PATH")
        }
        if lib:
            environment |= {"LD_PRELOAD": lib, "SSLSWEEP_VERBOSE": "1"}
        self.log = FOLDER / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [library.program, "server"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.port = self.answer("port")[0]

    def answer(self, word: str) -> list[str]:
        words = self.process.stdout.readline().split()
        if not words or words[0] != word:
            sys.exit(f"load: the server did not answer {word!r} but {words}: {self.log.read_text().strip()}")
        return words[1:]

    def tell(self, line: str, word: str) -> list[str]:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer(word)

    def counts(self) -> dict[str, int]:
        return {key: int(value) for key, value in (word.split("=") for word in self.tell("counts", "counts"))}

    def memory(self, key: str = "VmRSS") -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith(key))

    def end(self) -> int:
        """It frees its context; what it counted then."""
        self.process.stdin.close()
        removed = int(self.answer("freed")[0].split("=")[1])
        if self.process.wait(timeout=60) != 0:
            sys.exit(f"load: the server ended with {self.process.returncode}: {self.log.read_text().strip()}")
        return removed

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def busy() -> float:
    """Seconds for which the processors of the machine have worked, for anybody."""
    words = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, words[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own(server: Server) -> float:
    """The same for the server and for the clients that have ended."""
    words = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    times = os.times()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK") + sum(times[:4])


class Clients:
    """The processes of client.c; always on libssl alone."""

    def __init__(self, library: libraries.Library, server: Server, settings: Settings, seed: int) -> None:
        self.processes = []
        for index in range(CLIENTS):
            words = map(str, [server.port, index, CLIENTS, RATE, settings.seconds, seed])
            self.processes.append(
                subprocess.Popen(
                    [library.program, "client", *words],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )

    def begin(self) -> float:
        """Lets all begin at one moment, as soon as each is ready. That moment."""
        for process in self.processes:
            if process.stdout.readline() != "ready\n":
                sys.exit("load: a client could not prepare itself")
        moment = time.monotonic() + 0.5
        for process in self.processes:
            process.stdin.write(f"{int(moment * 1e9)}\n")
            process.stdin.flush()
        return moment

    def end(self) -> list[tuple[str, int, int, bool, bool, str]]:
        """What they saw: kind, intended, took, resumed, expected, failure."""
        found = []
        for process in self.processes:
            said, _ = process.communicate()
            if process.returncode != 0:
                sys.exit(f"load: a client ended with {process.returncode}")
            for line in said.splitlines():
                kind, intended, took, resumed, expected, failure = line.split()
                found.append((kind, int(intended), int(took), resumed == "1", expected == "1", failure))
        return found

    def kill(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def percentiles(values: list[int]) -> dict:
    values = sorted(values)
    ranks = {f"{p:g}": values[min(len(values) - 1, int(len(values) * p / 100))] for p in PERCENTILES if values}
    return {"count": len(values), "ns": ranks}


def divide(found, flushes: list[tuple[int, int, int]]) -> dict:
    """Those that were under way at some moment of a flush, and the others."""
    ends = [end for _, end, _ in flushes]
    during, between = [], []
    for _, intended, took, _, _, failure in found:
        if failure == "-":
            at = bisect.bisect_left(ends, intended)
            inside = at < len(flushes) and flushes[at][0] <= intended + took
            (during if inside else between).append(took)
    return {
        "during": percentiles(during),
        "between": percentiles(between),
        "all": percentiles(during + between),
    }


def one_run(library: libraries.Library, lib: str | None, settings: Settings, seed: int) -> dict:
    server, clients = Server(library, lib), None
    try:
        began = time.monotonic()
        restored = int(server.tell(f"restore {settings.restored} {SPREAD} {TIMEOUT}", "restored")[0])
        held = {"restoring_seconds": time.monotonic() - began, "counts_restored": server.counts()}
        memory = [server.memory()]
        before, since = busy() - own(server), time.monotonic()
        clients = Clients(library, server, settings, seed)
        begin = clients.begin()
        flushes = []
        for n in range(settings.flushes):
            time.sleep(max(0, begin + FLUSH_EVERY * (n + 1) - time.monotonic()))
            memory.append(server.memory())
            flushes.append(
                tuple(map(int, server.tell(f"flush {restored + settings.step() * (n + 1)}", "flushed")))
            )
        found = clients.end()
        rest = busy() - own(server) - before
        held["others"] = max(0.0, rest / (time.monotonic() - since) / os.cpu_count())
        memory.append(server.memory())
        held["counts_loaded"] = server.counts()
        held["store_mixed_ns"] = int(server.tell(f"store {STORED_MORE} {SPREAD}", "stored")[0])
        server.tell("flush 0", "flushed")
        held["counts_flushed"] = server.counts()
        held["memory"] = {
            "while": memory,
            "peak": server.memory("VmHWM"),
            "flushed": server.memory(),
            "trimmed": (server.tell("trim", "trimmed"), server.memory())[1],
        }
        held["removed_at_end"] = server.end()
        held["took_over"] = "took over" in server.log.read_text()
    finally:
        if clients:
            clients.kill()
        server.kill()
    held["visits"] = len(found)
    held["resumed"] = sum(resumed for _, _, _, resumed, _, _ in found)
    held["failures"] = {}
    for kind, _, _, _, _, failure in found:
        if failure != "-":
            held["failures"][f"{kind} {failure}"] = held["failures"].get(f"{kind} {failure}", 0) + 1
    held["unexpected"] = {}
    for kind, _, _, resumed, expected, failure in found:
        if failure == "-" and resumed != expected:
            held["unexpected"][kind] = held["unexpected"].get(kind, 0) + 1
    held["flushes"] = [{"ns": end - start, "removed": removed} for start, end, removed in flushes]
    held["latency"] = divide(found, flushes)
    return held


def accounted(counts: dict[str, int]) -> bool:
    return counts["stored"] + counts["made"] == counts["removed"] + counts["number"] and counts["full"] == 0


def wrong_with(held: dict, settings: Settings) -> list[str]:
    """What must hold on each side by itself."""
    restored, loaded, flushed = (held[f"counts_{when}"] for when in ("restored", "loaded", "flushed"))
    memory = held["memory"]
    most = memory["while"][0] + loaded["made"] * EACH_MADE + SLACK
    checks = [
        (held["visits"] == CLIENTS * RATE * settings.seconds, f"{held['visits']} visits were made"),
        (not held["unexpected"], f"resumed where not expected, or the reverse: {held['unexpected']}"),
        (all(map(accounted, (restored, loaded, flushed))), f"not every session is accounted for: {loaded}"),
        (restored["stored"] == settings.restored, f"not all was restored: {restored}"),
        (loaded["number"] >= settings.sessions, f"only {loaded['number']} sessions were held"),
        (flushed["number"] == 0, f"{flushed['number']} sessions are left after a flush of everything"),
        (held["removed_at_end"] == flushed["removed"], "the end of the context removed sessions again"),
        (
            sum(one["removed"] for one in held["flushes"]) >= settings.flushes * FLUSHED * 4 // 5,
            f"the flushes found too little to do: {held['flushes']}",
        ),
        (
            max(memory["while"]) <= most,
            f"memory grew under the load: {[one >> 20 for one in memory['while']]} MiB, at most {most >> 20}",
        ),
    ]
    return [words for holds, words in checks if not holds]


def wrong_beside(stock: dict, ours: dict) -> list[str]:
    """What must hold of sslsweep, given stock's run of the same seed."""
    failures = {
        what: (count, stock["failures"].get(what, 0))
        for what, count in ours["failures"].items()
        if count > stock["failures"].get(what, 0)
    }
    memory, theirs = ours["memory"], stock["memory"]
    removed = [[one["removed"] for one in held["flushes"]][1:] for held in (stock, ours)]
    checks = [
        (ours["took_over"] and not stock["took_over"], "sslsweep was not in force, or on the wrong side"),
        (not failures, f"failed, and less often on stock: {failures}"),
        (ours["counts_loaded"]["failed"] <= stock["counts_loaded"]["failed"], "the server saw failures"),
        (removed[0] == removed[1], f"flushes removed something else than on stock: {removed}"),
        (
            bool(ours["failures"] or stock["failures"])
            or ours["counts_loaded"]["removed"] == stock["counts_loaded"]["removed"],
            "by the end of the load another number was removed than on stock",
        ),
        (
            memory["peak"] <= theirs["peak"] * MORE_THAN_STOCK,
            f"peak of {memory['peak'] >> 20} MiB, stock {theirs['peak'] >> 20}",
        ),
        (
            memory["trimmed"] <= max(memory["peak"] * LEFT_OF_PEAK, theirs["trimmed"] + SLACK),
            f"{memory['trimmed'] >> 20} MiB left of {memory['peak'] >> 20}, stock {theirs['trimmed'] >> 20}",
        ),
    ]
    return [words for holds, words in checks if not holds]


def say(library: libraries.Library, side: str, turn: int, rounds: int, held: dict) -> None:
    latency, memory = held["latency"]["during"], held["memory"]
    times = ", ".join(
        f"{'max' if p == '100' else 'p' + p} {latency['ns'][p] / 1e6:.1f}"
        for p in ("50", "99", "100")
        if latency["ns"]
    )
    print(
        f"{library.name} {side}, round {turn + 1} of {rounds}: {held['visits']} handshakes, {held['resumed']} resumed, "
        f"{sum(held['failures'].values())} failed; {latency['count']} during {len(held['flushes'])} flushes: {times} ms; "
        f"memory {memory['peak'] >> 20} MiB, {memory['trimmed'] >> 20} when emptied; "
        f"others took {held['others']:.0%} of the processors",
        flush=True,
    )


def described(command: str, names: tuple, found: list) -> dict:
    """What was run and on what: the command with the settings that were given, of those with these names."""
    given = " ".join(f'{name}="{os.environ[name]}"' for name in names if os.environ.get(name))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": bench.commit(),
        "machine": bench.machine(),
        "command": f"{given} make {command}".strip(),
        "libraries": {library.name: library.version for library in found},
    }


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib, settings = str(pathlib.Path(sys.argv[1]).resolve()), Settings()
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = libraries.prepare(settings.libssl, FOLDER, sources())
    if any(library.peer for library in found):
        sys.exit("load: of peers there is nothing to compare")
    about = described("load", ("MINUTES", "LIBSSL", "SESSIONS"), found) | {
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "sessions": settings.sessions,
        "restored": settings.restored,
        "rate": CLIENTS * RATE,
        "clients": CLIENTS,
        "flush_every": FLUSH_EVERY,
        "peak": MORE_THAN_STOCK,
        "minutes": DEFAULT_MINUTES,
    }
    print(
        f"{settings.restored:,} sessions restored, {settings.sessions:,} held at least; {CLIENTS * RATE} connections a second "
        f"from {CLIENTS} processes; {settings.flushes} flushes in {settings.seconds} s; {settings.rounds} rounds",
        flush=True,
    )
    runs: dict = {library.name: {side: [] for side in SIDES} for library in found}
    wrong = []
    for turn in range(settings.rounds):
        for library in found:
            for side in SIDES if turn % 2 == 0 else reversed(SIDES):
                held = one_run(library, lib if side == "sslsweep" else None, settings, turn)
                runs[library.name][side].append(held)
                say(library, side, turn, settings.rounds, held)
                wrong += [
                    f"{library.name} {side}, round {turn + 1}: {words}" for words in wrong_with(held, settings)
                ]
            pair = (runs[library.name][side][-1] for side in SIDES)
            wrong += [f"{library.name}, round {turn + 1}: {words}" for words in wrong_beside(*pair)]
        about["load at the end"] = round(os.getloadavg()[0], 2)
        (FOLDER / "results.json").write_text(json.dumps({"about": about, "runs": runs}) + "\n")
    print("\n".join(f"not ok: {words}" for words in wrong) or "ok: all that must hold held", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
