"""What sslsweep sets out to reach, and what was measured. A target holds on each libssl by itself, against that libssl's
own cache in the same run; what counts is the worst of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from results import Results, short, times

MILLION, HUNDRED, TWENTY = 1_000_000, 100_000, 20_000
SIZES = (TWENTY, HUNDRED, MILLION)

Values = dict[str, float]  # of each libssl
Of = Callable[[Results, int], Values]


def ratio(measure: str, figure: str) -> Of:
    """sslsweep's over stock's."""
    return lambda results, size: found(results, lambda name: results.ratio(size, measure, figure, name))


def ours(measure: str, figure: str) -> Of:
    return lambda results, size: found(
        results, lambda name: results.median(size, measure, figure, name, "sslsweep")
    )


def beside(measure: str, figure: str) -> Of:
    """How much more than stock's."""

    def more(results: Results, size: int, name: str) -> float | None:
        held = [results.median(size, measure, figure, name, side) for side in ("sslsweep", "stock")]
        return None if None in held else held[0] - held[1]

    return lambda results, size: found(results, lambda name: more(results, size, name))


def over(these: Of, those: Of) -> Of:
    def both(results: Results, size: int) -> Values:
        below = those(results, size)
        return {name: value / below[name] for name, value in these(results, size).items() if below.get(name)}

    return both


def floor(measure: str) -> Of:
    return lambda results, size: found(results, lambda name: results.floor(size, measure, name))


def found(results: Results, value: Callable[[str], float | None]) -> Values:
    return {name: one for name in results.stocks if (one := value(name)) is not None}


@dataclass(frozen=True)
class Target:
    what: str
    limits: dict[int, float]  # by the number of sessions
    of: Of
    unit: str = ""  # of a figure that is no ratio
    at_least: bool = False

    def holds(self, size: int, value: float) -> bool:
        return value >= self.limits[size] if self.at_least else value <= self.limits[size]

    def worst(self, results: Results, size: int) -> tuple[str, float] | None:
        values = self.of(results, size) if size in self.limits else {}
        worst = (min if self.at_least else max)(values, key=values.get, default=None)
        return None if worst is None else (worst, values[worst])

    def number(self, value: float, size: int | None = None) -> str:
        if self.unit:
            return f"{short(value)} {self.unit}"
        limit = self.limits.get(size)  # three digits where two would not show on which side it is
        close = limit is not None and value != limit and abs(value / limit - 1) < 0.02
        return f"{value:.3f}" if close else times(value)

    def limit(self) -> str:
        """One limit, or those of the sizes, each as often as it changes."""
        kept = dict.fromkeys(self.limits.values())
        return ("at least " if self.at_least else "at most ") + " / ".join(self.number(limit) for limit in kept)

    def cells(self, results: Results, bold: str = "") -> list[str]:
        held = {size: self.worst(results, size) for size in SIZES}
        texts = []
        for size, one in held.items():
            if one is None:
                texts.append("" if size not in self.limits else "missing")
            else:
                mark = "" if self.holds(size, one[1]) else bold
                texts.append(f"{mark}{self.number(one[1], size)}{mark} ({one[0]})")
        return [self.what, self.limit(), *texts, self.state(results)]

    def state(self, results: Results) -> str:
        values = [(size, value) for size in self.limits for value in self.of(results, size).values()]
        met = sum(self.holds(size, value) for size, value in values)
        missing = any(self.worst(results, size) is None for size in self.limits)
        if not values:
            return "missing"
        words = "met" if met == len(values) else "not met" if met == 0 else f"{met} of {len(values)}"
        return f"{words}, some missing" if missing else words


def everywhere(limit: float) -> dict[int, float]:
    return dict.fromkeys(SIZES, limit)


def handshakes() -> list[Target]:
    return [
        Target(
            f"handshakes a second, {kind}, {words}, 1 thread",
            {TWENTY: 0.99, MILLION: 0.99},
            ratio("handshakes", f"{version}_{kind}_1"),
            at_least=True,
        )
        for version, words in (("tls12", "TLS 1.2"), ("tls13", "TLS 1.3"))
        for kind in ("full", "resumed")
    ]


FLUSHES = {
    "flush_half": "flush half, memory in order",
    "flush_half_shuffled": "flush half, random memory",
    "flush_all": "flush all, memory in order",
    "flush_all_shuffled": "flush all, random memory",
}

TARGETS = [
    Target("store, one timeout", everywhere(0.95), ratio("store", "uniform")),
    Target(
        "store, mixed timeouts over one timeout",
        everywhere(1.1),
        over(ours("store_mixed", "mixed"), ours("store", "uniform")),
    ),
    Target("look up, found", everywhere(0.8), ratio("store", "hit_1")),
    Target("look up, found, 2 threads", everywhere(0.6), ratio("store", "hit_2")),
    Target("look up, absent", everywhere(0.95), ratio("store", "miss_1")),
    Target("look up, absent, 2 threads", everywhere(0.6), ratio("store", "miss_2")),
    Target("set_time of a stored session, more than stock", everywhere(60), beside("set_latest", "time"), "ns"),
    Target("set_timeout of a stored session, more than stock", everywhere(60), beside("set_latest", "timeout"), "ns"),
    Target("remove one by one", everywhere(1.0), ratio("store", "remove")),
    *(
        Target(words, {TWENTY: 0.7, HUNDRED: 0.6, MILLION: 0.6}, ratio(measure, "each"))
        for measure, words in FLUSHES.items()
    ),
    Target(
        "flush half, random memory, over its floor",
        everywhere(1.3),
        over(ours("flush_half_shuffled", "each"), floor("flush_half_shuffled")),
    ),
    Target("flush that removes nothing, one call", everywhere(100), ours("flush_none", "call"), "ns"),
    *(
        Target(f"longest wait during a flush: {words}", {MILLION: 0.005}, ratio(measure, "longest"))
        for measure, words in (
            ("wait_update", "add or remove"),
            ("wait_update_1us", "add or remove, callbacks of 1 us"),
            ("wait_lookup", "lookup"),
        )
    ),
    Target("memory of the index", {TWENTY: 1.1, HUNDRED: 1.0, MILLION: 1.0}, ratio("memory", "index")),
    Target("memory in all", everywhere(1.05), ratio("memory", "total")),
    Target(
        "memory still allocated after a flush of all, over full",
        everywhere(0.1),
        over(ours("memory", "after_heap"), ours("memory", "index_heap")),
    ),
    *handshakes(),
]


def words(size: int) -> str:
    return f"{size // MILLION}M" if size >= MILLION else f"{size // 1000}k" if size >= 1000 else str(size)


HEADINGS = ["what", "aim", *(words(size) for size in SIZES), "state"]


def summary(results: Results) -> str:
    states = [target.state(results) for target in TARGETS]
    met, missing = (sum(state.startswith(word) for state in states) for word in ("met", "missing"))
    return f"{met} of {len(states)} met on each libssl and at each size" + (f", {missing} not measured" * (missing > 0)) + "."


def as_text(results: Results) -> str:
    """Without those of which nothing was measured."""
    measured = [cells for target in TARGETS if (cells := target.cells(results))[-1] != "missing"]
    rows = [
        f"  {what:<63}{aim:<22}{''.join(f'{cell:<17}' for cell in cells)}{state}"
        for what, aim, *cells, state in (HEADINGS, *measured)
    ]
    return "\n".join([*rows, summary(results)])
