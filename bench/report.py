#!/usr/bin/env python3
"""report.py [RESULTS]: puts the figures of a run into docs/benchmarks.md, between its markers, and the plots
into docs/plots. RESULTS is kept as docs/benchmarks.json, which is read when none is given. The first table has figures of
docs/load.json and docs/capacity.json, too."""

from __future__ import annotations

import json
import pathlib
import re
import sys

import catalogue
import headline
import plot
import targets
from results import Results, short, times

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "benchmarks.md"
KEPT = DOCS / "benchmarks.json"


def table(headings: list[str], rows: list[list[str]]) -> str:
    return "\n".join(
        [
            "| " + " | ".join(headings) + " |",
            "|" + "---|" * len(headings),
            *("| " + " | ".join(row) + " |" for row in rows),
        ]
    )


def figures(results: Results, size: int):
    """Each measure and figure that there is at a size, in the order of the catalogue."""
    held = results.samples.get(str(size), {})
    for measure in catalogue.MEASURES:
        if measure.name in held and not measure.stock_only:
            for figure in measure.figures:
                if figure in held[measure.name]:
                    yield measure, figure


def label(measure: catalogue.Measure, figure: str) -> str:
    return f"{measure.figures[figure]}, {measure.unit}"


# ---- The blocks ----


def about(results: Results) -> str:
    held = results.about
    machine = held["machine"]
    rows = [
        ["machine", f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}"],
        ["system", f"{machine['kernel']}, {machine['libc']}, {machine['compiler']}"],
        [
            "libssl",
            "; ".join(
                f"{name}: {one['version']}{' (peer)' if one['peer'] else ''}"
                for name, one in held["libraries"].items()
            ),
        ],
        ["command", f"`{held['command']}`"],
        ["rounds", f"{held['rounds']}; {held['rounds_of_a_million']} from a million sessions on"],
        [
            "taken",
            f"{held['date']}, at commit {held['commit']}, "
            f"load of the machine when it began: {machine['load at the start']}",
        ],
    ]
    return table(["", ""], rows)


def headline_table(results: Results) -> str:
    sources = headline.Sources.read(results)
    rows = [line.cells(sources) for line in headline.LINES]
    return f"{table(headline.HEADINGS, rows)}\n\n{headline.when(sources)}"


def target_table(results: Results) -> str:
    rows = [target.cells(results, bold="**") for target in targets.TARGETS]
    return f"{targets.summary(results)}\n\n{table(targets.HEADINGS, rows)}"


def ratio_tables(results: Results) -> str:
    parts = []
    for size in results.sizes:
        rows = []
        for measure, figure in figures(results, size):
            best = results.best_stock(size, measure.name, figure)
            cells = []
            for name in results.stocks:
                ratio = results.ratio(size, measure.name, figure, name)
                worse = results.verdict(size, measure.name, figure, name) == "worse"
                cells.append(f"**{times(ratio)}**" if worse else times(ratio))
            stock = results.median(size, measure.name, figure, best, "stock") if best else None
            peers = [
                short(results.median(size, measure.name, figure, name, "stock")) for name in results.peers
            ]
            rows.append([label(measure, figure), *cells, short(stock), *peers])
        held = table([f"{size:,} sessions", *results.stocks, "best stock", *results.peers], rows)
        parts.append(f"<details><summary>{size:,} sessions</summary>\n\n{held}\n\n</details>")
    return "\n\n".join(parts)


def behind(results: Results) -> str:
    verdicts = {"better": 0, "same": 0, "worse": 0}
    worse: dict[str, dict[int, list[float]]] = {}
    for size in results.sizes:
        for measure, figure in figures(results, size):
            for name in results.stocks:
                verdict = results.verdict(size, measure.name, figure, name)
                if verdict:
                    verdicts[verdict] += 1
                if verdict == "worse":
                    ratio = results.ratio(size, measure.name, figure, name)
                    worse.setdefault(measure.figures[figure], {}).setdefault(size, []).append(ratio)
    said = (
        f"Of {sum(verdicts.values())} comparisons sslsweep is ahead in {verdicts['better']}, "
        f"equal in {verdicts['same']} and behind in {verdicts['worse']}."
    )
    if not worse:
        return said

    def cell(ratios: list[float] | None) -> str:
        if not ratios:
            return ""
        ends = dict.fromkeys(times(end) for end in (min(ratios), max(ratios)))
        return f"{'..'.join(ends)} ({len(ratios)})"

    rows = [[words, *(cell(held.get(size)) for size in results.sizes)] for words, held in worse.items()]
    columns = ["behind: ratio (on how many libssl)", *map(targets.words, results.sizes)]
    return f"{said}\n\n{table(columns, rows)}"


def left_out(results: Results) -> str:
    return "\n".join(f"- {line}" for line in results.reasons()) or "Nothing was left out."


BLOCKS = {
    "headline": headline_table,
    "about": about,
    "targets": target_table,
    "ratios": ratio_tables,
    "behind": behind,
    "left-out": left_out,
}


# ---- The plots ----

PLOTS = ("wait", "flush", "store", "lookup", "handshakes")


def curve(
    results: Results, measure: str, figure: str, scale: float, floor: bool = False
) -> list[plot.Series]:
    def points(library: str, side: str) -> list[tuple[float, float, float, float]]:
        found = []
        for size in results.sizes:
            values = results.values(size, measure, figure, library, side)
            if values:
                median = results.median(size, measure, figure, library, side)
                found.append((size, *(max(value * scale, 1) for value in (median, min(values), max(values)))))
        return found

    series = [plot.Series("stock", "stock libssl", points(name, "stock"), name) for name in results.stocks]
    series += [
        plot.Series(f"peer-{at % 2}", results.about["libraries"][name]["version"], points(name, "stock"))
        for at, name in enumerate(results.peers)
    ]
    if floor:
        for name in results.stocks:
            held = [
                (size, value, value, value)
                for size in results.sizes
                if (value := results.floor(size, measure, name)) is not None
            ]
            series.append(plot.Series("floor", "floor: marking and freeing alone", held))
    series += [
        plot.Series("sslsweep", "sslsweep on the same", points(name, "sslsweep")) for name in results.stocks
    ]
    return [one for one in series if one.points]


def plots(results: Results) -> dict[str, str]:
    drawn = {}
    for name, title, measure, figure, scale, floor in (
        (
            "wait",
            "Longest wait of another thread's add or remove while half is flushed",
            "wait_update",
            "longest",
            1000,
            False,
        ),
        (
            "flush",
            "Flush of half, random memory: time for each session",
            "flush_half_shuffled",
            "each",
            1,
            True,
        ),
        ("store", "Storing a session, mixed timeouts", "store_mixed", "mixed", 1, False),
        ("lookup", "Looking up a stored session, 2 threads", "store", "hit_2", 1, False),
    ):
        series = curve(results, measure, figure, scale, floor)
        if series:
            drawn[name] = plot.curves(title, series)
    measure = catalogue.BY_NAME["handshakes"]
    rows = []
    for size in results.sizes:
        for figure, words in measure.figures.items():
            held = [
                ratio
                for name in results.stocks
                if (ratio := results.ratio(size, "handshakes", figure, name)) is not None
            ]
            if held:
                rows.append((f"{words.replace(' handshakes', '')}, {targets.words(size)}", held))
    if rows:
        drawn["handshakes"] = plot.ratios(
            "Handshakes per second, over stock's: right of 1 is better",
            f"sslsweep / stock, on each of: {', '.join(results.stocks)}",
            rows,
        )
    return drawn


def replace(blocks: dict[str, str]) -> None:
    """Puts each block between its markers on the page."""
    text = PAGE.read_text()
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        if not pattern.search(text):
            sys.exit(f"report: {PAGE.name} has no markers for {name}")
        text = pattern.sub(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)
    PAGE.write_text(text)


def renew_headline() -> None:
    """After a new run of the load test."""
    if KEPT.is_file():
        replace({"headline": headline_table(Results.load(KEPT))})


def main() -> None:
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    source = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else KEPT
    if not source.is_file():
        sys.exit(f"report: no {source}; make bench makes it")
    results = Results.load(source)
    if not results.stocks:
        sys.exit(f"report: {source} has figures of peers alone; LIBSSL must name a libssl")
    KEPT.write_text(json.dumps(json.loads(source.read_text()), separators=(",", ":")) + "\n")

    replace({name: block(results) for name, block in BLOCKS.items()})
    folder = DOCS / "plots"
    folder.mkdir(exist_ok=True)
    drawn = plots(results)
    for name, drawing in drawn.items():
        (folder / f"{name}.svg").write_text(drawing)
    if kept := [name for name in PLOTS if name not in drawn]:
        print(f"report: these plots are still those of an earlier run, because nothing was measured for them: {', '.join(kept)}")
    print(f"report: wrote {PAGE.relative_to(DOCS.parent)} and {folder.relative_to(DOCS.parent)} from {source}")


if __name__ == "__main__":
    main()
