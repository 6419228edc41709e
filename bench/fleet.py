#!/usr/bin/env python3
"""fleet.py LIB SHARE PROGRAMS: what sessions of other machines cost, with sslsweep's library LIB, the share library SHARE, and the
command, the agent and its example `measure` in PROGRAMS. Two machines are two segments with an agent each, and one redis-server
on loopback. The medians of ROUNDS (5) are put into docs/benchmarks.md, and all are kept in docs/fleet.json."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent
sys.path.append(str(TOP / "checks" / "programs"))

import libraries  # noqa: E402
import report  # noqa: E402
import sharing  # noqa: E402
from headline import amount  # noqa: E402
from results import commit  # noqa: E402
from run import machine  # noqa: E402
from support import Program, free_port, listening, wait_until  # noqa: E402

PROGRAM = TOP / "build" / "bench" / "fleet"
KEPT = report.DOCS / "fleet.json"
REDIS = Program("redis-server", "--version")
KEYS = {"p256": "ec -pkeyopt ec_paramgen_curve:P-256", "rsa2048": "rsa:2048"}
VERSIONS = sharing.VERSIONS
DELAY = 200  # microseconds


class Fleet(contextlib.ExitStack):
    """An engine, and machines that are made when they are needed."""

    def __init__(self, folder: pathlib.Path, programs: pathlib.Path, lib: pathlib.Path):
        super().__init__()
        self.folder, self.programs, self.lib, self.agents = folder, programs, lib, {}
        self.engine = free_port()
        self.keys = folder / "keys"
        subprocess.run([programs / "sslsweep", "share-key", "new", self.keys], check=True, stdout=subprocess.DEVNULL)
        self.begin(REDIS.path(), "--port", self.engine, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder,
                   port=self.engine, environment=REDIS.environment())

    def begin(self, *command: object, port: int = 0, environment: dict[str, str] | None = None) -> subprocess.Popen:
        process = self.enter_context(subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL,
                                                      env=os.environ | (environment or {})))
        self.callback(process.terminate)
        wait_until(lambda: not port or listening(port), f"{command[0]} listening")
        return process

    def segment(self, name: str, port: int = 0) -> pathlib.Path:
        path = self.folder / name
        self.agents[path] = self.begin(self.programs / "sslsweep-shared", "--segment", f"{path}:64m", "--upstream",
                                       f"redis://127.0.0.1:{port or self.engine}")
        wait_until(lambda: self.status(path), f"the agent of {name}")
        return path

    def status(self, path: pathlib.Path) -> dict[str, int]:
        """The agent's counts, once it reaches the engine."""
        done = subprocess.run([self.programs / "sslsweep-shared", "status", "--segment", path], capture_output=True, text=True, check=False)
        return {name: int(number) for name, number in re.findall(r"^(\w+) +(\d+)  ", done.stdout, re.M)} if done.returncode == 0 else {}

    def on(self, path: pathlib.Path) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.lib), "SSLSWEEP_SHARE": f"host:{path}:64m", "SSLSWEEP_SHARE_KEY": str(self.keys),
                "SSLSWEEP_SHARE_WAIT": "20"}

    def settle(self, path: pathlib.Path) -> None:
        """Until the agent has sent everything."""
        seen = [-1]

        def still() -> bool:
            time.sleep(0.3)
            before, seen[0] = seen[0], self.status(path).get("published", -2)
            return before == seen[0]
        wait_until(still, "the end of publishing")


def certify(folder: pathlib.Path, kind: str) -> tuple[pathlib.Path, pathlib.Path]:
    certificate, key = folder / f"{kind}.crt", folder / f"{kind}.key"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=fleet", "-newkey", *KEYS[kind].split(),
                    "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL)
    return certificate, key


def round_of(folder: pathlib.Path, lib: pathlib.Path, share: pathlib.Path, programs: pathlib.Path) -> dict[str, float]:
    folder.mkdir()
    samples: dict[str, float] = {}

    def take(prefix: str, said: str) -> None:
        for line in said.splitlines():
            if found := re.fullmatch(r"(\w+) (\S+) (?:us|/s|times)", line):
                samples[f"{prefix}{found[1]}"] = float(found[2])
    with Fleet(folder, programs, lib) as fleet:
        first, second = fleet.segment("first"), fleet.segment("second")
        for kind in KEYS:
            files = certify(folder, kind)
            sessions = folder / f"sessions.{kind}"
            # What a full handshake takes where nothing is shared, and so nothing is published.
            take(f"{kind}_alone_", sharing.say(PROGRAM, "make", *files, folder / "unused", LD_PRELOAD=str(lib)))
            take(f"{kind}_", sharing.say(PROGRAM, "make", *files, sessions, **fleet.on(first)))
            fleet.settle(first)
            take(f"{kind}_", sharing.say(PROGRAM, "resume", *files, sessions, **fleet.on(second)))
        port = free_port()
        fleet.begin(PROGRAM, "delay", port, fleet.engine, DELAY, port=port)
        third = fleet.segment("third", port)
        take("delayed_", sharing.say(PROGRAM, "resume", *files, sessions, **fleet.on(third)))
        with_agent = {name: value for name, value in fleet.on(first).items() if name != "LD_PRELOAD"}
        take("agent_", sharing.say(sharing.PROGRAM, "calls", share, **with_agent))
        fourth = fleet.segment("fourth")
        said = sharing.say(programs / "examples" / "measure", fourth, f"redis://127.0.0.1:{fleet.engine}", fleet.agents[fourth].pid)
        print(said, end="", flush=True)
        for what in "publish", "remove":
            found = re.search(rf"^{what}: .*: (\d+) a second; .*?([\d.]+) us each", said, re.M)
            samples[f"agent_{what}_each_second"], samples[f"agent_{what}_us"] = float(found[1]), float(found[2])
    return samples


def tables(samples: dict[str, list[float]]) -> str:
    middle = {figure: statistics.median(values) for figure, values in samples.items()}

    def row(words: str, values: list[float], goal: float) -> list[str]:
        met = sum(value <= goal for value in values)
        state = "met" if met == len(values) else "in part" if met else "not met"
        return [words, " / ".join(amount(value, "us") for value in values), amount(goal, "us"), state]

    def above(prefix: str) -> list[float]:
        return [middle[f"{prefix}_remote_{version}"] - middle[f"rsa2048_here_{version}"] for version in VERSIONS]
    costs = [
        row("a resumption from another machine, more than from the own segment", above("rsa2048"), 60),
        row(f"the same with an engine {DELAY} µs away", above("delayed"), DELAY + 80),
        row("publish a session while an agent lives", [middle[f"agent_put_{version}"] for version in VERSIONS], 6),
    ]
    rates = [[words, *(f"{middle[f'{kind}_{figure}_each_second_{version}']:,.0f}" for kind in KEYS for version in VERSIONS)]
             for words, figure in (("full handshakes, nothing shared", "alone_full"), ("full handshakes, published", "full"),
                                   ("resumptions, all from another machine", "remote"), ("resumptions from the own segment", "here"))]
    ratio = [f"{middle[f'{kind}_remote_each_second_{version}'] / middle[f'{kind}_alone_full_each_second_{version}']:.2f}"
             for kind in KEYS for version in VERSIONS]
    missed = sum(sum(values) for figure, values in samples.items() if "missed" in figure)
    agent = ", ".join(f"{middle[f'agent_{what}_each_second']:,.0f} {words} a second ({middle[f'agent_{what}_us']:.1f} µs of its processor "
                      "time each)" for what, words in (("publish", "records"), ("remove", "removals")))
    return "\n\n".join([
        report.table([f"operation, {' / '.join(VERSIONS.values())}", "measured", "goal", "state"], costs),
        report.table(["a second, server's part", *(f"{'P-256' if kind == 'p256' else 'RSA-2048'}, {words}" for kind in KEYS
                                                   for words in VERSIONS.values())],
                     [*rates, ["remote resumptions to full handshakes", *ratio]]),
        f"The agent sends {agent}; the goal is 100,000 operations a second on one core. Waits that missed the deadline of 20 ms: {missed:.0f}."])


def main() -> None:
    if len(sys.argv) != 4 or not all(pathlib.Path(path).exists() for path in sys.argv[1:]):
        sys.exit(__doc__)
    lib, share, programs = (pathlib.Path(path).resolve() for path in sys.argv[1:])
    rounds = int(os.environ.get("ROUNDS") or 5)
    libraries.build_own(PROGRAM)
    libraries.build_own(sharing.PROGRAM)
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", flush=True)
            for figure, value in round_of(pathlib.Path(folder) / str(turn), lib, share, programs).items():
                samples.setdefault(figure, []).append(value)
    held = {"commit": commit(), "machine": machine(), "rounds": rounds, "samples": samples}
    KEPT.write_text(json.dumps(held, indent=1) + "\n")
    words = (f"`make bench-fleet` at commit {held['commit']}, on {held['machine']['processor']}, {held['machine']['cores']} cores, load "
             f"of the machine when it ended: {held['machine']['load at the start']}; medians of {rounds}.")
    report.replace({"fleet": f"{words}\n\n{tables(samples)}"})
    print("bench: wrote docs/fleet.json and docs/benchmarks.md")


if __name__ == "__main__":
    main()
