#!/usr/bin/env python3
"""sharing.py LIB SHARE: what sharing a session costs, by sharing.c, with sslsweep's library LIB and share library SHARE, and the
segment by itself. The medians of ROUNDS (5) are put into docs/benchmarks.md, and all are kept in docs/sharing.json."""

from __future__ import annotations

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import libraries
import report
from headline import amount
from results import commit
from run import machine

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent
PROGRAM = TOP / "build" / "bench" / "sharing"
KEPT = report.DOCS / "sharing.json"
SEGMENT = "run --quiet --release --locked -p sslsweep-segment --example segment_speed"
VERSIONS = {"tls12": "TLS 1.2", "tls13": "TLS 1.3"}


def say(*command: object, **options: str) -> str:
    environment = {**os.environ, **options}
    done = subprocess.run([str(word) for word in command], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: {pathlib.Path(str(command[0])).name} ended with {done.returncode}")
    return done.stdout


def stripped(share: pathlib.Path) -> int:
    with tempfile.NamedTemporaryFile() as copy:
        subprocess.run(["strip", "-o", copy.name, share], check=True)
        return pathlib.Path(copy.name).stat().st_size


def operations(held: dict) -> str:
    def median(figure: str) -> float:
        return statistics.median(held["samples"][figure])

    def row(words: str, figures: dict[str, float], goal: float) -> list[str]:
        met = sum(value <= goal for value in figures.values())
        state = "met" if met == len(figures) else "in part" if met else "not met"
        return [words, " / ".join(amount(value, "us") for value in figures.values()), amount(goal, "us"), state]

    rows = [
        row(f"{words}, {' / '.join(VERSIONS.values())}", {version: median(f"{figure}_{version}") for version in VERSIONS}, goal)
        for words, figure, goal in (
            ("publish a session (encode, seal, put)", "put", 6),
            ("fetch a session (get, open, check, decode)", "get", 3),
            ("first fetch in a child that was forked just now", "first_get_in_child", 30),
        )
    ]
    more = {version: median(f"resume_shared_{version}") - median(f"resume_own_{version}") for version in VERSIONS}
    rows.append(row("resumption from another context, more than from one's own", more, 15))
    size = held["bytes"]
    rows.append(["the share library, stripped", f"{size:,} bytes", "400,000 bytes", "met" if size <= 400_000 else "not met"])
    return report.table(["operation", "measured", "goal", "state"], rows)


def segment(said: str) -> str:
    lines = [line.split() for line in said.splitlines() if re.fullmatch(r"[\s\d]+", line)]
    rows = [
        [f"{int(sessions):,}", *(amount(float(value), "ns") for value in times), f"{int(evicted):,}"]
        for sessions, *times, evicted in lines
    ]
    others = [line for line in said.splitlines() if "slots" in line or line.startswith("alone")]
    table = report.table(["sessions in a segment of 1 GiB", "put", "get", "get of what is absent", "evicted"], rows)
    return "\n".join([table, "", *(f"- {line}" for line in others)])


def main() -> None:
    if len(sys.argv) != 3 or not all(pathlib.Path(path).is_file() for path in sys.argv[1:]):
        sys.exit(__doc__)
    lib, share = (pathlib.Path(path).resolve() for path in sys.argv[1:])
    rounds = int(os.environ.get("ROUNDS") or 5)
    libraries.build_own(PROGRAM)
    samples: dict[str, list[float]] = {}
    for turn in range(rounds):
        said = say(PROGRAM, "calls", share, SSLSWEEP_SHARE="family")
        said += say(PROGRAM, "resume", SSLSWEEP_SHARE="family", LD_PRELOAD=str(lib))
        print(f"round {turn + 1} of {rounds}\n{said}", end="", flush=True)
        for line in said.splitlines():
            figure, value, _ = line.split()
            samples.setdefault(figure, []).append(float(value))
    of_segment = say(*os.environ.get("CARGO", "cargo").split(), *SEGMENT.split())
    print(of_segment, end="")
    held = {"commit": commit(), "machine": machine(), "rounds": rounds, "samples": samples, "bytes": stripped(share), "segment": of_segment}
    KEPT.write_text(json.dumps(held, indent=1) + "\n")
    words = (
        f"`make bench-sharing` at commit {held['commit']}, on {held['machine']['processor']}, {held['machine']['cores']} cores, "
        f"load of the machine when it ended: {held['machine']['load at the start']}; medians of {rounds}."
    )
    report.replace({"sharing": "\n\n".join([words, operations(held), segment(of_segment)])})
    print("bench: wrote docs/sharing.json and docs/benchmarks.md")


if __name__ == "__main__":
    main()
