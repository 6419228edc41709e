#!/usr/bin/env python3
"""profile.py LIB: where the instructions and the cache misses of an operation go, on stock libssl and with
sslsweep's library LIB, counted by callgrind. Counts, not times: they come out the same on a busy machine.

The figures are put into docs/benchmarks.md, and kept in docs/profile.json. LIBSSL names the libssl (system)."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass

import libraries
import report
from results import commit

HERE = pathlib.Path(__file__).resolve().parent
KEPT = report.DOCS / "profile.json"


@dataclass(frozen=True)
class Operation:
    words: str
    measure: str  # as bench.c knows it
    function: str  # of the benchmark, inside which all is counted
    size: int
    times: int  # the operation happens in there
    calls: int = 0  # that the benchmark is told to make, where the size does not say it
    floor: bool = False  # marking and freeing alone, which sslsweep has no part in


def every_third_piece(size: int) -> int:
    """floor.c lets three ways take turns at pieces of 512; this is the first one's share."""
    return sum(min(512, size - at) for at in range(0, size, 3 * 512))


LOOKUPS = 20_000  # of each thread; there are one and then two
HANDSHAKES = 40
OPERATIONS = [
    Operation("store, one timeout", "store", "pool_store", 20_000, 20_000),
    Operation("store, one timeout", "store", "pool_store", 100_000, 100_000),
    Operation("store, mixed timeouts", "store_mixed", "pool_store", 10_000, 10_000),
    Operation("look up, found", "store", "search_found", 20_000, 3 * LOOKUPS, LOOKUPS),
    Operation("look up, absent", "store", "search_absent", 20_000, 3 * LOOKUPS, LOOKUPS),
    Operation("remove one by one", "store", "pool_remove", 20_000, 20_000),
    Operation("remove one by one", "store", "pool_remove", 100_000, 100_000),
    Operation("set_time of a stored session, to the last place", "set_latest", "set_times", 20_000, 20_000),
    Operation("set_timeout of a stored session, to the last place", "set_latest", "set_timeouts", 20_000, 20_000),
    Operation("flush half, memory in order", "flush_half", "flush", 20_000, 10_000),
    Operation("- its floor", "floor_half", "plain", 20_000, every_third_piece(10_000), floor=True),
    Operation("flush half, memory in random order", "flush_half_shuffled", "flush", 100_000, 50_000),
    Operation("- its floor", "floor_half_shuffled", "plain", 100_000, every_third_piece(50_000), floor=True),
    Operation("flush all, memory in order", "flush_all", "flush", 100_000, 100_000),
    Operation("- its floor", "floor_all", "plain", 100_000, every_third_piece(100_000), floor=True),
    # Client and server together, with a full cache.
    Operation("full handshake, TLS 1.2", "full_tls12", "shake_full", 20_000, HANDSHAKES, HANDSHAKES),
    Operation("full handshake, TLS 1.3", "full_tls13", "shake_full", 20_000, HANDSHAKES, HANDSHAKES),
    Operation("resumed handshake, TLS 1.2", "resumed_tls12", "shake_resumed", 20_000, HANDSHAKES, HANDSHAKES),
    Operation("resumed handshake, TLS 1.3", "resumed_tls13", "shake_resumed", 20_000, HANDSHAKES, HANDSHAKES),
]

# A core's own two caches, always the same so that the counts are. What is shared with the rest of a machine
# cannot be simulated.
CACHES = ["--I1=32768,8,64", "--D1=49152,12,64", "--LL=2097152,16,64"]

# Parts of sslsweep, by the source file that an instruction comes from. What the compiler took in from
# Rust's own library counts with the function around it.
PARTS = [
    ("key", r"cache/key\.rs|cache::key::"),
    ("order of expiry", r"cache/(order|links)\.rs|cache::(order|links)::"),
    ("index and slots", r"cache/(index|shard|slots|place)\.rs|cache::(index|shard|slots|place)::"),
    ("locks", r"sync::mutex"),
]
OWN = "the rest of sslsweep"
OTHERS = [("libssl and libcrypto", r"lib(ssl|crypto)\.so"), ("the C library", r"/lib(c|pthread)[.-]|ld-linux")]
NAMES = [name for name, _ in [*PARTS, (OWN, ""), *OTHERS]]


def part(where: str, file: str, function: str) -> str | None:
    """The part that a piece of code belongs to; None for the benchmark's own."""
    if "libsslsweep" in where or "sslsweep" in function or file.startswith("sslsweep/"):
        for pattern_of in (file, function):
            for name, pattern in PARTS:
                if re.search(pattern, pattern_of):
                    return name
        return OWN
    return next((name for name, pattern in OTHERS if re.search(pattern, where)), None)


def counts(path: pathlib.Path) -> dict[str, Counter]:
    """Instructions and misses of each part, from callgrind's file, without what the calls from there cost."""
    found: dict[str, Counter] = {}
    where = file = function = ""
    events: list[str] = []
    called = False
    for line in path.read_text(errors="replace").splitlines():
        key, _, value = line.partition("=")
        if line.startswith("events: "):
            events = line.split()[1:]
        elif key == "ob":
            where = value
        elif key in ("fl", "fi", "fe"):
            file = value
        elif key == "fn":
            function = value
        elif key == "calls":
            called = True  # the next line is what happened in there
        elif line[:1].isdigit() or line[:1] in "+-*":
            name = part(where, file, function)
            if name and not called:
                values = dict(zip(events, map(int, line.split()[1:])))
                found.setdefault(name, Counter()).update(
                    {
                        "instructions": values.get("Ir", 0),
                        "first": values.get("D1mr", 0) + values.get("D1mw", 0),
                        "second": values.get("DLmr", 0) + values.get("DLmw", 0),
                    }
                )
            called = False
    return found


def profile(library: libraries.Library, operation: Operation, lib: str | None) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        if lib:
            environment["LD_PRELOAD"] = lib
        done = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", "--cache-sim=yes", *CACHES),
                *("--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}"),
                *(f"--toggle-collect={operation.function}", library.program),
                *(operation.measure, str(operation.size), str(operation.calls or LOOKUPS)),
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"profile: {operation.measure} under callgrind failed: {done.stderr.strip()}")
        found = counts(out)
    if (OWN in found) != bool(lib) or not found:
        sys.exit(f"profile: {operation.measure}: nothing was counted, or of the wrong library: {list(found)}")
    return {
        name: {event: value / operation.times for event, value in held.items()} for name, held in found.items()
    }


def total(held: dict[str, dict[str, float]], event: str) -> str:
    value = sum(one[event] for one in held.values())
    return f"{value:.0f}" if event == "instructions" else f"{value:.1f}"


def cells(held: dict[str, dict[str, float]] | None) -> list[str]:
    if held is None:
        return ["-"] * 3
    return [total(held, event) for event in ("instructions", "first", "second")]


def block(kept: dict) -> str:
    rows = []
    for row in kept["rows"]:
        ours = row["sslsweep"]
        shares = [f"{ours[name]['instructions']:.0f}" if ours and name in ours else "-" for name in NAMES]
        pairs = [" / ".join(pair) if ours else pair[0] for pair in zip(cells(row["stock"]), cells(ours))]
        rows.append([row["words"], f"{row['size']:,}", *pairs, *shares])
    columns = ["stock / sslsweep", "sessions", "instructions", "misses, first level", "second level", *NAMES]
    return (
        f"{kept['version']}, callgrind ({kept['tool']}), at commit {kept['commit']}; `{kept['command']}`.\n\n"
        + report.table(columns, rows)
    )


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib = str(pathlib.Path(sys.argv[1]).resolve())
    folder = HERE.parent / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    word = os.environ.get("LIBSSL") or libraries.SYSTEM
    (library,) = libraries.prepare([word], folder, libraries.SOURCES)
    rows = []
    for operation in OPERATIONS:
        print(f"{operation.words}, {operation.size:,} sessions", file=sys.stderr, flush=True)
        row = {"words": operation.words, "size": operation.size}
        row["stock"] = profile(library, operation, None)
        row["sslsweep"] = None if operation.floor else profile(library, operation, lib)
        rows.append(row)
    tool = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    kept = {
        "version": library.version,
        "tool": tool.stdout.strip(),
        "commit": commit(),
        "command": "make profile" if word == libraries.SYSTEM else f"LIBSSL={word} make profile",
        "rows": rows,
    }
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    report.replace({"profile": block(kept)})
    print(f"profile: wrote {KEPT.relative_to(HERE.parent)} and docs/benchmarks.md")


if __name__ == "__main__":
    main()
