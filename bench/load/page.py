#!/usr/bin/env python3
"""page.py [LOAD] [CAPACITY]: writes docs/load.md and docs/plots/load.svg from the results of a run of load.py and of capacity.py,
and the first table of docs/benchmarks.md. Results that exist are kept as docs/load.json and docs/capacity.json; the others are
read from there."""

from __future__ import annotations

import pathlib
import statistics
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(TOP / "bench"))

import json  # noqa: E402

import plot  # noqa: E402
from headline import CAPACITY as KEPT_CAPACITY, LOAD as KEPT  # noqa: E402
from report import renew_headline, table  # noqa: E402
from results import compare, short, spread, times  # noqa: E402

SIDES = ("stock", "sslsweep")
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
make load-capacity                                # handshakes a second of nginx and of this server; some 15 minutes
make load-report                                  # writes this page from the last runs
make load-servers                                 # flushes in unchanged servers
```

`make load-report` writes this page; its samples are kept in [load.json](load.json).
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


CAPACITY_HEAD = """\
## Handshakes a second

`make load-capacity` asks whether a whole server is faster or slower while nothing is flushed. The server has one processor, its clients
have the others. Its cache is full, so each session that it stores takes the place of another one. It is Debian's nginx with
`ssl_session_cache builtin` or the server above, called *threads* here. Stock and sslsweep take turns.
"""
CAPACITY_NOTES = """\
*A second* is one of the server's own processor time while eight connections are under way at any time, so neither the clients nor other
programs limit it. *p50* and *p99* are those of {rate:,} connections a second, at moments that are fixed beforehand. Each cell
is the median of {rounds} rounds of {seconds} s, with the smallest and the largest. Bold: behind, by more than 5 % and beyond the noise.

Few handshakes fill nginx's cache: [tickets.c](../bench/load/servers/tickets.c) is preloaded on both sides, and lets nginx make a hundred
sessions by each handshake until the cache is full. The samples are kept in [capacity.json](capacity.json).
"""


def capacity(held: dict | None) -> list[str]:
    if held is None:
        return [CAPACITY_HEAD, "Missing: `make load-capacity` has not been run.", ""]
    about, rows = held["about"], []
    names = {"nginx": f"nginx {about.get('nginx', '')}".strip()}
    for server, libraries in held["samples"].items():
        for library, sizes in libraries.items():
            for size, kinds in sizes.items():
                for kind, figures in kinds.items():
                    cells = []
                    for figure, scale in (("rate", 1), ("p50", 1e6), ("p99", 1e6)):
                        stock, ours = ([value / scale for value in figures[figure][side]] for side in SIDES)
                        behind = "**" if compare(stock, ours, figure == "rate") == "worse" else ""
                        ratio = times(statistics.median(ours) / statistics.median(stock))
                        cells += [cell(stock), cell(ours), f"{behind}{ratio}{behind}"]
                    version, what = kind.split()
                    rows.append([names.get(server, server), library, f"{int(size):,}", f"TLS 1.{version[1]}, {what}", *cells])
    columns = ["server", "libssl", "sessions", "handshakes"]
    for words in ("a second", "p50, ms", "p99, ms"):
        columns += [f"{words}, stock", "sslsweep", "ratio"]
    return [CAPACITY_HEAD, table(columns, rows), "", CAPACITY_NOTES.format(**about), machine_of(about), ""]


def machine_of(held: dict) -> str:
    return (f"`{held['command']}`, {held['date']}, at commit {held['commit']}, on {held['machine']['processor']}, "
            f"{held['machine']['cores']} cores, load of the machine when it began: {held['machine']['load at the start']}.")


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


def results(new: str | pathlib.Path, kept: pathlib.Path) -> dict | None:
    """Those of the last run, which are kept from now on; or those that are kept."""
    source = pathlib.Path(new) if pathlib.Path(new).is_file() else kept
    if not source.is_file():
        return None
    held = json.loads(source.read_text())
    kept.write_text(json.dumps(held, separators=(",", ":")) + "\n")
    return held


def main() -> None:
    if len(sys.argv) not in (1, 3):
        sys.exit(__doc__)
    held, of_capacity = (results(new, kept) for new, kept in zip(sys.argv[1:] or (KEPT, KEPT_CAPACITY), (KEPT, KEPT_CAPACITY)))
    if held is None:
        sys.exit("load: there are no results; make load makes them")
    runs = held["runs"]
    held["about"]["others"] = others(runs)
    parts = [
        HEAD.format(**held["about"]),
        about(held["about"]),
        "\n![How long handshakes took that were under way during a flush, by percentile](plots/load.svg)\n",
        latencies(runs),
        "",
        NOTES.format(**held["about"]),
        f"<details><summary>Connections, flushes, memory</summary>\n\n{whole(runs)}\n\n</details>",
        "",
        *capacity(of_capacity),
    ]
    (TOP / "docs" / "load.md").write_text("\n".join(parts))
    (TOP / "docs" / "plots" / "load.svg").write_text(drawing(runs))
    renew_headline()
    print("load: wrote docs/load.md, docs/plots/load.svg and the first table of docs/benchmarks.md")


if __name__ == "__main__":
    main()
