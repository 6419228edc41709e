"""The results of a run: every sample, its medians, its ratios, and the JSON file that holds them."""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess

import catalogue

NOISE = 0.05  # a smaller difference is none
WAYS = ("plain", "prefetch", "address")


def commit() -> str:
    """Dirty is a tree that differs elsewhere than in docs/, into which results are written."""

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["git", *words], cwd=pathlib.Path(__file__).parent, capture_output=True, text=True, check=False
        )

    name = git("describe", "--always").stdout.strip()
    dirty = git("diff", "--quiet", "HEAD", "--", ":/", ":(top,exclude)docs").returncode == 1
    return f"{name}-dirty" * dirty or name or "unknown"


class Results:
    """samples[size][measure][figure][library][side] is the list of the rounds' values."""

    def __init__(self, about: dict):
        self.about = about
        self.samples: dict = {}
        self.left_out: dict[str, str] = {}

    # ---- Filling, keeping ----

    def add(self, size: int, measure: str, figure: str, library: str, side: str, value: float) -> None:
        place = self.samples
        for key in (str(size), measure, figure, library):
            place = place.setdefault(key, {})
        place.setdefault(side, []).append(value)

    def leave_out(self, library: str, measure: str, figure: str, reason: str) -> None:
        self.left_out[f"{library}, {measure} {figure}"] = reason

    def save(self, path: pathlib.Path) -> None:
        held = {"about": self.about, "left_out": self.left_out, "samples": self.samples}
        path.write_text(json.dumps(held, indent=1) + "\n")

    @classmethod
    def load(cls, path: pathlib.Path) -> Results:
        held = json.loads(path.read_text())
        results = cls(held["about"])
        results.left_out, results.samples = held["left_out"], held["samples"]
        return results

    def reasons(self) -> list[str]:
        """What was left out, a line for each library and reason: one reason may explain several figures."""
        count: dict[tuple[str, str], int] = {}
        for what, reason in self.left_out.items():
            key = (what.split(",")[0], reason)
            count[key] = count.get(key, 0) + 1
        return [
            f"{library}: {reason} ({number} figure{'s' * (number != 1)} left out)"
            for (library, reason), number in count.items()
        ]

    # ---- Asking ----

    @property
    def sizes(self) -> list[int]:
        return sorted(int(size) for size in self.samples)

    @property
    def stocks(self) -> list[str]:
        return [name for name, held in self.about["libraries"].items() if not held["peer"]]

    @property
    def peers(self) -> list[str]:
        return [name for name, held in self.about["libraries"].items() if held["peer"]]

    def values(self, size: int, measure: str, figure: str, library: str, side: str) -> list[float]:
        place = self.samples
        for key in (str(size), measure, figure, library, side):
            place = place.get(key, {})
        return place or []

    def median(self, *place) -> float | None:
        values = self.values(*place)
        return statistics.median(values) if values else None

    def ratio(self, size: int, measure: str, figure: str, library: str) -> float | None:
        ours = self.median(size, measure, figure, library, "sslsweep")
        stock = self.median(size, measure, figure, library, "stock")
        return ours / stock if ours is not None and stock and stock > 0 else None

    def best_stock(self, size: int, measure: str, figure: str) -> str | None:
        """The library whose stock cache is best at this."""
        held = {
            name: value
            for name in self.stocks
            if (value := self.median(size, measure, figure, name, "stock")) is not None
        }
        best = max if catalogue.BY_NAME[measure].more_is_better else min
        return best(held, key=held.get) if held else None

    def floor(self, size: int, flush: str, library: str) -> float | None:
        """The least time a session of this flush, by the best of the ways."""
        medians = [
            self.median(size, flush.replace("flush_", "floor_"), way, library, "stock") for way in WAYS
        ]
        return min((value for value in medians if value is not None), default=None)

    def verdict(self, size: int, measure: str, figure: str, library: str) -> str:
        if self.ratio(size, measure, figure, library) is None:
            return ""
        stock, ours = (self.values(size, measure, figure, library, side) for side in ("stock", "sslsweep"))
        return compare(stock, ours, catalogue.BY_NAME[measure].more_is_better)


def compare(stock: list[float], ours: list[float], more_is_better: bool) -> str:
    """better or worse: by more than 5 % and beyond the noise (the middle halves of the rounds do not overlap, so
    that a single disturbed round decides nothing); same: anything else."""
    ratio = statistics.median(ours) / statistics.median(stock)
    more, less = ("better", "worse") if more_is_better else ("worse", "better")
    if ratio > 1 + NOISE and apart(stock, ours):
        return more
    if ratio < 1 - NOISE and apart(ours, stock):
        return less
    return "same"


def apart(low: list[float], high: list[float]) -> bool:
    if min(len(low), len(high)) < 4:
        return max(low) < min(high)
    return statistics.quantiles(low)[2] < statistics.quantiles(high)[0]


def short(value: float | None) -> str:
    if value is None:
        return "-"
    for limit, divisor, letter in ((10_000_000, 1_000_000, "M"), (10_000, 1000, "k")):
        if abs(value) >= limit:
            return f"{value / divisor:.0f}{letter}"
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def times(ratio: float | None) -> str:
    """A ratio, to be read against 1."""
    if ratio is None:
        return "-"
    if ratio >= 10:
        return f"{ratio:.0f}"
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def spread(values: list[float]) -> str:
    return (
        f"{short(statistics.median(values))} ({short(min(values))}..{short(max(values))})" if values else "-"
    )
