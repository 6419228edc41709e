#!/usr/bin/env python3
"""page.py [RESULTS]: writes docs/load.md and docs/plots/load.svg from the results of a run of load.py. RESULTS is kept
as docs/load.json, which is read when none is given."""

from __future__ import annotations

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(TOP / "bench"))

import json  # noqa: E402

import plot  # noqa: E402
from report import table  # noqa: E402
from results import short, spread  # noqa: E402

SIDES = ("stock", "sslsweep")
KEPT = TOP / "docs" / "load.json"
WHEN = {
    "during": "under way during a flush",
    "between": "the others",
    "all": "all together",
}
PERCENTILES = {"50": "p50", "99": "p99", "99.9": "p99.9", "100": "longest"}

HEAD = """\
# Load

`make load` runs a threaded TLS server on the public API ([bench/load/server.c](../bench/load/server.c)), the same binary on stock
libssl and with sslsweep preloaded, in turns and with the same seeds. The server restores its sessions from the output of
`i2d_SSL_SESSION()`, with timeouts of 1 to 600 seconds, and holds at least {sessions:,} during the
load. {clients} client processes, always on stock libssl, make {rate} connections a second over loopback, at moments that are fixed
beforehand: 40 % resume one of 18,000 restored sessions of TLS 1.2, 35 % resume a session of TLS 1.3 that a handshake has made
(stateful: `SSL_OP_NO_TICKET`), 20 % are full handshakes, and 5 % offer an expired session. Every
{flush_every} seconds another thread flushes with a time that advances such that some 50,000 sessions leave. The time of a
connection counts from the moment at which it was due, to the arrival of an answer of one byte. A connection that waits behind a slow one
has therefore waited, too.

Each run is checked, on both sides: no handshake fails that succeeds on stock; each session that must be resumed is, and no
expired one; every session is accounted for (stored and made = removed and held); the flushes remove the same numbers on both
sides; a flush of everything leaves nothing; memory does not grow by more than the sessions that handshakes make; its peak is
at most {peak} times stock's; and the last session gives all of it back to malloc, and from there `malloc_trim()` returns it to the
system. Times are only reported.

```sh
make load                                         # some {minutes} minutes, on the libssl of the system
make load MINUTES=1                               # as in CI: one round of each side
make load MINUTES=24 LIBSSL="system 1.1.1 3.5 4.0"
make load-report                                  # writes this page from the last run
make load-servers                                 # the same question for unchanged servers
```

`make load-report` writes this page; no figure was chosen by hand ([load.json](load.json)).
"""

NOTES = """\
The times are medians of the rounds, with the smallest and the largest. *Under way during a flush* means: some moment of the flush lies
between the moment at which the connection was due and its end. A queue that a flush leaves behind may outlast the
flush, and then counts among *the others*. Clients and server share the processors with the flush, which occupies one of them
on either side. Waits for a processor therefore remain with sslsweep.

*Storing one of a random timeout* explains the setup: the server restores its sessions in the order in which they expire, and
handshakes make sessions with the longest timeout of all. From 3.0 on stock libssl keeps its list in that order and walks the list,
under the lock, for any session that belongs elsewhere. If handshakes mixed their timeouts, each store
would make all other handshakes wait for that long, and stock could not serve {rate} a second.
"""


def milliseconds(runs: list[dict], when: str, percentile: str) -> list[float]:
    return [
        run["latency"][when]["ns"][percentile] / 1e6
        for run in runs
        if percentile in run["latency"][when]["ns"]
    ]


def cell(values: list[float]) -> str:
    return spread(values) if len(values) > 1 else short(*values)


def about(held: dict) -> str:
    machine = held["machine"]
    return table(
        ["", ""],
        [
            ["machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}"],
            ["system", f"{machine['kernel']}, {machine['libc']}, {machine['compiler']}"],
            ["libssl", "; ".join(f"{name}: {version}" for name, version in held["libraries"].items())],
            ["command", f"`{held['command']}`"],
            [
                "rounds",
                f"{held['rounds']} of {held['seconds']} s for each side; {held['restored']:,} sessions restored",
            ],
            [
                "taken",
                f"{held['date']}, at commit {held['commit']}, load of the machine: {machine['load at the start']} when it "
                f"began, {held['load at the end']} when it ended",
            ],
            ["others", held["others"]],
        ],
    )


def latencies(runs: dict) -> str:
    rows = []
    for name, sides in runs.items():
        for when, words in WHEN.items():
            for percentile, said in PERCENTILES.items():
                cells = [cell(milliseconds(sides[side], when, percentile)) for side in SIDES]
                rows.append([name, words, said, *cells])
    return table(["libssl", "connections", "", "stock, ms", "sslsweep, ms"], rows)


def whole(runs: dict) -> str:
    def of(side: list[dict], value) -> str:
        return cell([value(run) for run in side])

    figures = {
        "connections, of all rounds": lambda side: f"{sum(run['visits'] for run in side):,}",
        "of them resumed": lambda side: f"{sum(run['resumed'] for run in side):,}",
        "of them failed": lambda side: f"{sum(sum(run['failures'].values()) for run in side):,}",
        "under way during a flush": lambda side: f"{sum(run['latency']['during']['count'] for run in side):,}",
        "sessions removed by a flush": lambda side: spread(
            [one["removed"] for run in side for one in run["flushes"]]
        ),
        "time of a flush, ms": lambda side: spread(
            [one["ns"] / 1e6 for run in side for one in run["flushes"]]
        ),
        "storing one of a random timeout, us": lambda side: of(side, lambda run: run["store_mixed_ns"] / 1e3),
        "memory, peak, MiB": lambda side: of(side, lambda run: run["memory"]["peak"] / 2**20),
        "memory, all flushed, MiB": lambda side: of(side, lambda run: run["memory"]["flushed"] / 2**20),
        "memory, after malloc_trim, MiB": lambda side: of(side, lambda run: run["memory"]["trimmed"] / 2**20),
    }
    rows = [
        [name, words, *(figure(sides[side]) for side in SIDES)]
        for name, sides in runs.items()
        for words, figure in figures.items()
    ]
    return table(["libssl", "", "stock", "sslsweep"], rows)


def others(runs: dict) -> str:
    """Whether anything else ran: figures of a busy machine say little."""
    shares = [run["others"] for sides in runs.values() for side in SIDES for run in sides[side]]
    worst = max(shares)
    words = f"other programs took {statistics.median(shares):.0%} of the processors, {worst:.0%} in the worst round"
    return words + (": the times here are those of a busy machine" if worst > 0.1 else "")


def drawing(runs: dict) -> str:
    """Each percentile that every round can know: of a hundred connections there is no p99.9."""
    series = []
    for side, legend in (("stock", "stock libssl"), ("sslsweep", "sslsweep on the same")):
        for name, sides in runs.items():
            held = [run["latency"]["during"] for run in sides[side]]
            points = []
            for percentile in held[0]["ns"]:
                share = 1 - float(percentile) / 100
                if share > 0 and min(one["count"] for one in held) * share >= 1:
                    values = [one["ns"][percentile] for one in held]
                    points.append((1 / share, statistics.median(values), min(values), max(values)))
            series.append(plot.Series(side, legend, points, name))
    return plot.curves(
        "Handshakes under way during a flush",
        series,
        "percentile",
        lambda x: f"p{100 - 100 / x:.4g}",
    )


def main() -> None:
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else KEPT
    if not source.is_file():
        sys.exit(f"load: no {source}; make load makes it")
    held = json.loads(source.read_text())
    runs = held["runs"]
    held["about"]["others"] = others(runs)
    parts = [
        HEAD.format(**held["about"]),
        about(held["about"]),
        "\n![How long handshakes took that were under way during a flush, by percentile](plots/load.svg)\n",
        latencies(runs),
        "",
        NOTES.format(**held["about"]),
        whole(runs),
        "",
    ]
    KEPT.write_text(json.dumps(held, separators=(",", ":")) + "\n")
    (TOP / "docs" / "load.md").write_text("\n".join(parts))
    (TOP / "docs" / "plots" / "load.svg").write_text(drawing(runs))
    print("load: wrote docs/load.md and docs/plots/load.svg")


if __name__ == "__main__":
    main()
