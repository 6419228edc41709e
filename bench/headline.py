"""The lines that docs/benchmarks.md begins with: of the first libssl that was measured, from the samples that `make bench`,
`make load` and `make load-capacity` took. What was not measured is shown as missing."""

from __future__ import annotations

import json
import pathlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from results import Results, compare, times

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
LOAD, CAPACITY = DOCS / "load.json", DOCS / "capacity.json"

Sides = dict[str, list[float]]


@dataclass(frozen=True)
class Sources:
    results: Results
    load: dict | None
    capacity: dict | None

    @classmethod
    def read(cls, results: Results) -> Sources:
        return cls(results, *(json.loads(path.read_text()) if path.is_file() else None for path in (LOAD, CAPACITY)))

    @property
    def library(self) -> str:
        return self.results.stocks[0]


@dataclass(frozen=True)
class Line:
    what: str
    why: str
    of: Callable[[Sources], Sides]
    unit: str
    more_is_better: bool = False

    def cells(self, sources: Sources) -> list[str]:
        sides = self.of(sources)
        stock, ours = (sides.get(side) or [] for side in ("stock", "sslsweep"))
        cells = [amount(statistics.median(values), self.unit) if values else "missing" for values in (stock, ours)]
        ratio = "missing"
        if stock and ours:
            ratio = times(statistics.median(ours) / statistics.median(stock))
            if compare(stock, ours, self.more_is_better) == "worse":
                ratio = f"**{ratio}**, behind"
        return [self.what, self.why, *cells, ratio]


def amount(value: float, unit: str) -> str:
    """So that it is read at a glance: 98 ms, not 98432 us."""
    if unit == "us":
        value, unit = value * 1000, "ns"
    if unit == "ns":
        for limit, divisor, larger in ((1e6, 1e6, "ms"), (1e3, 1e3, "µs")):
            if value >= limit:
                value, unit = value / divisor, larger
                break
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"


def bench(size: int, measure: str, figure: str) -> Callable[[Sources], Sides]:
    return lambda sources: {
        side: sources.results.values(size, measure, figure, sources.library, side) for side in ("stock", "sslsweep")
    }


def load(percentile: str) -> Callable[[Sources], Sides]:
    def sides(sources: Sources) -> Sides:
        runs = (sources.load or {"runs": {}})["runs"].get(sources.library, {})
        return {
            side: [run["latency"]["during"]["ns"][percentile] for run in held if run["latency"]["during"]["ns"]]
            for side, held in runs.items()
        }

    return sides


def capacity(server: str, size: int, kind: str, figure: str) -> Callable[[Sources], Sides]:
    def sides(sources: Sources) -> Sides:
        place = (sources.capacity or {"samples": {}})["samples"]
        for key in (server, sources.library, str(size), kind, figure):
            place = place.get(key, {})
        return place

    return sides


LINES = [
    Line("longest wait of another thread while half of 1M sessions is flushed", "no handshake can use the cache for that long",
         bench(1_000_000, "wait_update", "longest"), "us"),
    Line("99th percentile of connections during a flush, in a server with 1M sessions", "visitors notice it", load("99"), "ns"),
    Line("flush, for each removed session, of 1M in random memory", "processor time of the clean-up",
         bench(1_000_000, "flush_half_shuffled", "each"), "ns"),
    Line("store a session among 100k, one timeout", "part of each full handshake", bench(100_000, "store", "uniform"), "ns"),
    Line("store a session among 20k, mixed timeouts", "the same where timeouts differ", bench(20_000, "store_mixed", "mixed"), "ns"),
    Line("look up a stored session among 100k, 2 threads", "part of each resumption", bench(100_000, "store", "hit_2"), "ns"),
    Line("look up an absent session among 20k", "an expired or foreign id, before a full handshake", bench(20_000, "store", "miss_1"), "ns"),
    Line("remove one session among 100k", "programs that end sessions themselves", bench(100_000, "store", "remove"), "ns"),
    Line("memory of the index for each of 100k sessions", "beside some 1,000 bytes of the session itself", bench(100_000, "memory", "index"), "B"),
    Line("nginx, 20k sessions: resumed handshakes of TLS 1.2 a second", "a whole server, on one processor",
         capacity("nginx", 20_000, "12 resumed", "rate"), "/s", more_is_better=True),
    Line("the same with TLS 1.3", "the same, with a signature in each",
         capacity("nginx", 20_000, "13 resumed", "rate"), "/s", more_is_better=True),
]
HEADINGS = ["", "why it matters", "stock", "sslsweep", "sslsweep / stock"]


def when(sources: Sources) -> str:
    """Of which commits and machine: the files may come from different runs."""
    abouts = {"bench": sources.results.about, "load": (sources.load or {}).get("about"),
              "load-capacity": (sources.capacity or {}).get("about")}
    parts = [f"`make {name}` at commit {about['commit']}, {about['date']}" for name, about in abouts.items() if about]
    held = sources.results.about
    version = held["libraries"][sources.library]["version"]
    return (f"{version.strip()}; {held['machine']['processor']}, {held['machine']['cores']} cores. Medians of the rounds: "
            f"{'; '.join(parts)}. Below 1 is better, except for handshakes a second.")
