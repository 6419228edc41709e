"""What is measured: how bench's measures and figures are called, and at which sizes they make sense."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    name: str  # as bench.c knows it
    figures: dict[str, str]  # name of the figure -> its words, in the order of the table
    unit: str
    more_is_better: bool = False
    stock_only: bool = False  # sslsweep has no part in it
    largest: int | None = None  # beyond, it would take too long
    largest_full: int | None = None  # the same in a full run
    largest_ordered: int | None = None  # the same on stock that keeps an ordered list
    ends_only: bool = False  # at the smallest and the largest size (but not beyond a million) only
    seconds: float = 0.0  # that it takes whatever the size, for the estimate of what is left


def flushes(unit_words: str) -> list[Measure]:
    return [
        Measure(f"flush_{name}", {"each": f"flush {words}"}, unit_words)
        for name, words in (
            ("half", "half, memory in order"),
            ("half_shuffled", "half, memory in random order"),
            ("all", "all, memory in order"),
            ("all_shuffled", "all, memory in random order"),
        )
    ]


def floor() -> Measure:
    """Of the other flushes profile.py counts the instructions, which tells more."""
    return Measure(
        "floor_half_shuffled",
        {way: f"floor of flush half, random, {way}" for way in ("plain", "prefetch", "address")},
        "ns",
        stock_only=True,
    )


def waits() -> list[Measure]:
    found = [
        Measure(
            "wait_apart",
            {
                "longest": "longest wait of add or remove in another context",
                "p99.9": "p99.9 wait of add or remove in another context",
            },
            "us",
        )
    ]
    for name, words in (
        ("update", "add or remove"),
        ("update_1us", "add or remove, callback of 1 us"),
        ("update_50us", "add or remove, callback of 50 us"),
        ("lookup", "lookup"),
    ):
        long = name.endswith("_50us")
        found.append(
            Measure(
                f"wait_{name}",
                {"longest": f"longest wait of {words}", "p99.9": f"p99.9 wait of {words}"},
                "us",
                largest=20_000 if long else None,
                largest_full=100_000 if long else None,
                seconds=0.5 if long else 0.0,
            )
        )
    return found


def handshakes() -> Measure:
    figures = {}
    for version, name in (("tls12", "TLS 1.2"), ("tls13", "TLS 1.3")):
        for kind in ("full", "resumed"):
            for threads, suffix in ((1, ""), (2, ", 2 threads")):
                figures[f"{version}_{kind}_{threads}"] = f"{kind} handshakes, {name}{suffix}"
    return Measure("handshakes", figures, "/s", more_is_better=True, ends_only=True, seconds=4.0)


MEASURES = [
    Measure(
        "store",
        {
            "uniform": "store, one timeout",
            "hit_1": "look up, found",
            "hit_2": "look up, found, 2 threads",
            "miss_1": "look up, absent",
            "miss_2": "look up, absent, 2 threads",
            "remove": "remove one by one",
        },
        "ns",
    ),
    # Stock from 3.0 on looks for the place of each deadline in a list: half a millisecond each at 100,000.
    Measure("store_mixed", {"mixed": "store, mixed timeouts"}, "ns", largest_ordered=20_000, seconds=0.5),
    Measure("store_full", {"evicting": "store, cache full: one is evicted"}, "ns", largest=1_000_000),
    Measure(
        "set_latest",
        {
            "time": "set_time of a stored session, to the last place",
            "timeout": "set_timeout of a stored session, to the last place",
        },
        "ns",
    ),
    Measure("set_mixed", {"mixed": "set_timeout of a stored session, mixed timeouts"}, "ns", largest_ordered=20_000, seconds=1.0),
    Measure("flush_none", {"call": "flush call, none expired"}, "ns"),
    *flushes("ns"),
    floor(),
    *waits(),
    Measure(
        "memory",
        {
            "index": "memory of the index, full",
            "after": "memory of the index, after a flush of all",
            "index_heap": "allocated for the index, full",
            "after_heap": "allocated for the index, after a flush of all",
            "total": "memory in all, full",
        },
        "B",
    ),
    handshakes(),
]

BY_NAME = {measure.name: measure for measure in MEASURES}


def runs_at(measure: Measure, size: int, sizes: list[int], full: bool) -> bool:
    largest = (measure.largest_full if full else None) or measure.largest
    if largest is not None and size > largest:
        return False
    if measure.ends_only:
        upto = [other for other in sizes if other <= 1_000_000]
        return bool(upto) and size in (min(upto), max(upto))
    return True


def cost(measure: Measure, size: int) -> float:
    """Seconds of one process, roughly: for the estimate of the time that is left."""
    return 0.03 + size * 2.5e-6 + measure.seconds
