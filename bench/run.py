#!/usr/bin/env python3
"""run.py LIB: measures libssl's own session cache ("stock") against sslsweep's library LIB, preloaded
into the same binary. Each measurement is a process of its own, stock and sslsweep take turns, so that
whatever else the machine does meets both. Options by environment:

  SIZES="20000 1000000"  sessions in the cache (default 20000)
  ROUNDS=7               measurements of each kind on each side; below 5 verdicts mean little
  ONLY="flush wait"      only measures whose name begins with one of these words
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys

# Name of the measure in bench.c, its words, and the largest size that ends in sensible time: stock
# looks for the place of each mixed deadline in a list, and 50 us for each session add up.
MEASURES = [
    ("insert_uniform", "store, one timeout", None),
    ("insert_mixed", "store, mixed timeouts", 20_000),
    ("lookup_hit_1", "look up, found", None),
    ("lookup_hit_2", "look up, found, 2 threads", None),
    ("lookup_miss_1", "look up, absent", None),
    ("lookup_miss_2", "look up, absent, 2 threads", None),
    ("remove", "remove one by one", None),
    ("flush_none", "flush call, none expired", None),
    ("flush_half", "flush half", None),
    ("flush_half_shuffled", "flush half, shuffled", None),
    ("flush_all", "flush all", None),
    ("flush_all_shuffled", "flush all, shuffled", None),
    ("flush_all_callback", "flush all, callback", None),
    ("wait_update", "update wait", None),
    ("wait_update_1us", "update wait 1us", None),
    ("wait_update_50us", "update wait 50us", 20_000),
    ("wait_lookup", "lookup wait", None),
    ("wait_lookup_1us", "lookup wait 1us", None),
    ("wait_lookup_50us", "lookup wait 50us", 20_000),
    ("memory", "index memory", None),
]

LEGEND = """\
Medians (smallest..largest) of {rounds} rounds; ratio = sslsweep / stock, below 1 is
better. better, worse: by more than 5 % and beyond the noise (the middle halves
of the rounds do not overlap); same: anything else.
store to flush: time for each session. shuffled: flushed in another order than
  that in which their memory lies, as in a server that has run for long.
update wait, lookup wait: how long an add or remove, or a lookup, of another
  thread takes during one flush of half of the cache; 1us, 50us: with a remove
  callback that takes so long.
index memory: resident memory of the cache without the sessions, for each
  session, when full and after a flush of all."""

# How a line of bench's output is called in the table.
KINDS = {"each": "", "call": "", "longest": ", longest", "p99.9": ", p99.9",
         "stored": ", full", "flushed": ", flushed"}

NOISE = 0.05


def build(here: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    program = folder / "bench"
    command = [os.environ.get("CC", "cc"), "-std=c11", "-D_DEFAULT_SOURCE", "-O2", "-Wall", "-Wextra",
               "-Werror", "-Wno-deprecated-declarations", "-pthread", "-o", str(program),
               str(here / "bench.c"), str(here / "pool.c"), "-lssl", "-lcrypto", "-ldl"]
    subprocess.run(command, check=True)
    return program


def run(program: pathlib.Path, lib: str | None, *arguments: str) -> tuple[str, str]:
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    if lib:
        environment["LD_PRELOAD"] = lib
    done = subprocess.run([str(program), *arguments], env=environment, capture_output=True, text=True,
                          timeout=150, check=False)
    if done.returncode != 0 or "cannot be preloaded" in done.stderr:
        sys.exit(f"bench: {' '.join(arguments)} {'with sslsweep' if lib else 'on stock'} failed "
                 f"({done.returncode}): {done.stderr.strip()}")
    return done.stdout, done.stderr


def sample(program, lib, measure, size) -> dict[str, tuple[float, str]]:
    """{"each": (123.4, "ns"), ...}"""
    words = (line.split() for line in run(program, lib, measure, str(size))[0].splitlines())
    return {name: (float(value), unit) for name, value, unit in words}


def verdict(stock: list[float], ours: list[float]) -> tuple[float, str]:
    """Quartiles, so that a single disturbed round decides nothing."""
    ratio = statistics.median(ours) / max(statistics.median(stock), 1e-9)

    def apart(low: list[float], high: list[float]) -> bool:
        if len(low) < 2:
            return low < high
        return statistics.quantiles(low)[2] < statistics.quantiles(high)[0]

    if ratio > 1 + NOISE and apart(stock, ours):
        return ratio, "worse"
    if ratio < 1 - NOISE and apart(ours, stock):
        return ratio, "better"
    return ratio, "same"


def short(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def spread(values: list[float]) -> str:
    return f"{short(statistics.median(values))} ({short(min(values))}..{short(max(values))})"


def measure_all(program, lib, size, rounds, only) -> list[dict]:
    """Prints the table's lines as they come."""
    results = []
    for measure, words, largest in MEASURES:
        if (largest and size > largest) or (only and not measure.startswith(tuple(only))):
            continue
        samples: dict[str, dict] = {}
        for turn in range(rounds):
            if sys.stderr.isatty():
                print(f"\r{words}: round {turn + 1} of {rounds}\033[K", end="", file=sys.stderr, flush=True)
            sides = [("stock", None), ("sslsweep", lib)]
            for side, preload in sides if turn % 2 == 0 else reversed(sides):
                for name, (value, unit) in sample(program, preload, measure, size).items():
                    entry = samples.setdefault(name, {"unit": unit, "stock": [], "sslsweep": []})
                    entry[side].append(value)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        for name, entry in samples.items():
            ratio, word = verdict(entry["stock"], entry["sslsweep"])
            label = f"{words}{KINDS[name]} [{entry['unit']}]"
            print(f"{label:<31}{spread(entry['stock']):>18}{spread(entry['sslsweep']):>18}"
                  f"{ratio:>6.2f} {word}", flush=True)
            results.append({"measure": measure, "what": label, "size": size,
                            "stock_median": statistics.median(entry["stock"]),
                            "sslsweep_median": statistics.median(entry["sslsweep"]),
                            "ratio": round(ratio, 4), "verdict": word, **entry})
    return results


def explain(results: list[dict]) -> None:
    worse = [r for r in results if r["verdict"] == "worse"]
    for r in worse:
        print(f"worse: {r['what']}, {r['size']:,} sessions: {short(r['sslsweep_median'])} instead of "
              f"{short(r['stock_median'])}, {r['ratio']:.2f} times stock.")
    better = sum(r["verdict"] == "better" for r in results)
    print(f"{better} of {len(results)} lines better, {len(worse)} worse, the others the same.")


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib = str(pathlib.Path(sys.argv[1]).resolve())
    sizes = [int(size) for size in os.environ.get("SIZES", "20000").split()]
    rounds = int(os.environ.get("ROUNDS", "7"))
    only = os.environ.get("ONLY", "").split()
    here = pathlib.Path(__file__).resolve().parent
    folder = here.parent / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    program = build(here, folder)

    os.environ["SSLSWEEP_VERBOSE"] = "1"
    proof = run(program, lib, "flush_none", "100")[1]
    del os.environ["SSLSWEEP_VERBOSE"]
    if "sslsweep" not in proof:
        sys.exit("bench: the library does not take part (SSLSWEEP_VERBOSE=1 shows nothing)")

    version = run(program, None, "version")[0].strip()
    print(f"{version}, {os.cpu_count()} processors\n{LEGEND.format(rounds=rounds)}")
    results = []
    for size in sizes:
        heading = f"{size:,} sessions"
        print(f"\n{heading:<31}{'stock':>18}{'sslsweep':>18}{'ratio':>6}")
        results += measure_all(program, lib, size, rounds, only)
    print()
    explain(results)
    report = folder / "results.json"
    report.write_text(json.dumps({"libssl": version, "rounds": rounds, "results": results}, indent=1) + "\n")
    print(f"Written: {report.relative_to(here.parent)}")
    print("For a large cache: SIZES=1000000 ROUNDS=5 make bench")


if __name__ == "__main__":
    main()
