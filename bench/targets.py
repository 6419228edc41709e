"""What sslsweep sets out to reach, each held against what was measured.

A target holds against the best stock: the libssl whose own cache is the quickest at it, with sslsweep on
that same libssl, since freeing a session costs what it costs there. "Everywhere" tells how it stands on
each libssl against that libssl's own cache."""

from __future__ import annotations

from dataclasses import dataclass, field

from results import Results, short, times

MILLION, HUNDRED, TWENTY = 1_000_000, 100_000, 20_000
ORDERED, SHUFFLED = ("flush_half", "flush_all"), ("flush_half_shuffled", "flush_all_shuffled")


@dataclass
class Line:
    target: str
    what: str
    limit: float
    at_least: bool
    measured: float  # where it counts: on the best stock's libssl
    on: str  # which that is
    everywhere: list[float] = field(default_factory=list)
    unit: str = ""  # of a figure that is no ratio

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def state(self) -> str:
        met = sum(self.holds(value) for value in self.everywhere)
        if met == len(self.everywhere) and self.holds(self.measured):
            return "met"
        if met == 0 and not self.holds(self.measured):
            return "not met"
        return f"on {met} of {len(self.everywhere)}" + ("" if self.holds(self.measured) else ", not the best")

    def number(self, value: float) -> str:
        if self.unit:
            return f"{short(value)} {self.unit}"
        close = abs(value / self.limit - 1) < 0.02  # so that it shows on which side it is
        return f"{value:.3f}" if close and value != self.limit else times(value)

    def cells(self) -> list[str]:
        low, high = min(self.everywhere), max(self.everywhere)
        return [
            self.what,
            f"{'at least' if self.at_least else 'at most'} {self.number(self.limit)}",
            f"{self.number(self.measured)} ({self.on})",
            f"{self.number(low)}..{self.number(high)}",
            self.state,
        ]


def words(size: int) -> str:
    return f"{size // MILLION}M" if size >= MILLION else f"{size // 1000}k"


class Book:
    def __init__(self, results: Results):
        self.results = results
        self.lines: list[Line] = []

    def against_stock(
        self,
        target: str,
        limit: float,
        size: int,
        measure: str,
        figure: str,
        what: str,
        at_least: bool = False,
        only: str = "",
    ) -> None:
        ratios = {
            name: ratio
            for name in self.results.stocks
            if name.startswith(only)
            and (ratio := self.results.ratio(size, measure, figure, name)) is not None
        }
        best = self.results.best_stock(size, measure, figure)
        if only:
            best = next(iter(ratios), None)
        if best in ratios:
            self.lines.append(
                Line(
                    target,
                    f"{what}, {words(size)}",
                    limit,
                    at_least,
                    ratios[best],
                    best,
                    list(ratios.values()),
                )
            )

    def of_ours(self, target: str, limit: float, what: str, values: dict[str, float], unit: str = "") -> None:
        """A limit that looks at sslsweep alone: the worst of the libssl counts."""
        if values:
            worst = max(values, key=values.get)
            self.lines.append(
                Line(target, what, limit, False, values[worst], worst, list(values.values()), unit)
            )

    def ours(self, size: int, measure: str, figure: str) -> dict[str, float]:
        return {
            name: value
            for name in self.results.stocks
            if (value := self.results.median(size, measure, figure, name, "sslsweep")) is not None
        }

    def over(self, these: dict[str, float], those: dict[str, float | None]) -> dict[str, float]:
        return {name: value / those[name] for name, value in these.items() if those.get(name)}


def lines(results: Results) -> list[Line]:
    book = Book(results)
    sizes = results.sizes

    target = "longest wait of another thread during a flush of half"
    for measure, words_of in (("wait_update", "add or remove"), ("wait_lookup", "lookup")):
        for suffix, callback in (("", ""), ("_1us", ", callbacks of 1 us")):
            book.against_stock(target, 0.01, MILLION, measure + suffix, "longest", words_of + callback)
        # The longest of fifty times as many operations is longer on any machine that does other work as well.
        for figure, kind in (("longest", ""), ("p99.9", ", p99.9")):
            few = book.ours(TWENTY, measure, figure)
            book.of_ours(
                target,
                2,
                f"{words_of}{kind}: {words(MILLION)} over {words(TWENTY)}",
                book.over(book.ours(MILLION, measure, figure), few),
            )
            book.of_ours(
                target,
                2,
                f"{words_of}{kind}, {words(TWENTY)}: callbacks of 50 us over none",
                book.over(book.ours(TWENTY, measure + "_50us", figure), few),
            )
    few = book.ours(TWENTY, "wait_apart", "longest")
    for size in (HUNDRED, MILLION):
        book.of_ours(
            target,
            2,
            f"in a context that is not flushed (the machine's share): {words(size)} over {words(TWENTY)}",
            book.over(book.ours(size, "wait_apart", "longest"), few),
        )

    target = "flush, for each removed session"
    for kinds, memory, limits in (
        (SHUFFLED, "random memory", {TWENTY: 0.7, HUNDRED: 0.5, MILLION: 0.5}),
        (ORDERED, "memory in order", {TWENTY: 0.7, HUNDRED: 0.8, MILLION: 0.8}),
    ):
        for measure in kinds:
            part = "half" if "half" in measure else "all"
            for size, limit in limits.items():
                book.against_stock(target, limit, size, measure, "each", f"{part}, {memory}")
    target = "flush, over the floor"
    for measure in (*SHUFFLED, *ORDERED):
        part, memory = (
            "half" if "half" in measure else "all",
            "random memory" if measure in SHUFFLED else "memory in order",
        )
        for size in (TWENTY, HUNDRED, MILLION):
            floors = {name: results.floor(size, measure, name) for name in results.stocks}
            book.of_ours(
                target,
                1.3,
                f"{part}, {memory}, {words(size)}",
                book.over(book.ours(size, measure, "each"), floors),
            )

    for size in sizes:
        for measure, memory in (("flush_none", ""), ("flush_none_shuffled", ", random memory")):
            book.of_ours(
                "flush that removes nothing",
                100,
                f"one call, {words(size)}{memory}",
                book.ours(size, measure, "call"),
                "ns",
            )

    target = "store"
    for size in sizes:
        if size <= MILLION:
            book.of_ours(
                target,
                1.3,
                f"mixed timeouts over one timeout, {words(size)}",
                book.over(book.ours(size, "store_mixed", "mixed"), book.ours(size, "store", "uniform")),
            )
    for size in (TWENTY, HUNDRED, MILLION):
        book.against_stock(target, 0.9, size, "store", "uniform", "one timeout")

    for size in (TWENTY, HUNDRED, MILLION):
        for kind, what in (("hit", "found"), ("miss", "absent")):
            book.against_stock("lookup", 0.9, size, "store", f"{kind}_1", what)
            book.against_stock("lookup", 0.6, size, "store", f"{kind}_2", f"{what}, 2 threads")

    for size in (TWENTY, HUNDRED, MILLION):
        book.of_ours("memory", 64, f"index, {words(size)}", book.ours(size, "memory", "index"), "B")
        book.of_ours(
            "memory",
            0.1,
            f"still allocated after a flush, over full, {words(size)}",
            book.over(book.ours(size, "memory", "after_heap"), book.ours(size, "memory", "index_heap")),
        )
        book.against_stock("memory", 1.05, size, "memory", "total", "in all")

    target = "handshakes per second"
    for size in (TWENTY, MILLION):
        for version, name in (("tls12", "TLS 1.2"), ("tls13", "TLS 1.3")):
            for kind in ("full", "resumed"):
                for threads in (1, 2):
                    book.against_stock(
                        target,
                        0.99,
                        size,
                        "handshakes",
                        f"{version}_{kind}_{threads}",
                        f"{kind}, {name}, {threads} thread{'s' * (threads - 1)}",
                        at_least=True,
                    )
    for version, name in (("tls12", "TLS 1.2"), ("tls13", "TLS 1.3")):
        for threads in (1, 2):
            book.against_stock(
                f"{target}, 1.1.1w",
                1.3,
                MILLION,
                "handshakes",
                f"{version}_full_{threads}",
                f"full, {name}, {threads} thread{'s' * (threads - 1)}",
                at_least=True,
                only="1.1.1",
            )
    return book.lines


HEADINGS = ["what", "target", "measured (on)", "on each libssl", "state"]


def summary(found: list[Line]) -> str:
    met = sum(line.state == "met" for line in found)
    never = sum(line.state == "not met" for line in found)
    return f"{met} of {len(found)} met everywhere, {len(found) - met - never} in part, {never} not met."


def as_text(found: list[Line]) -> str:
    rows, target = [], ""
    for line in found:
        if line.target != target:
            target = line.target
            rows.append(target)
        what, limit, measured, everywhere, state = line.cells()
        rows.append(f"  {what:<64}{limit:<17}{measured:<18}{everywhere:<15}{state}")
    return "\n".join([*rows, summary(found)])
