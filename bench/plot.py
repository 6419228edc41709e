"""Plots as plain SVG, legible in light and dark: colours are classes, and each kind of line has its own mark."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM = 760, 440, 76, 24, 52
NAMES = 140  # room for the names of lines at their ends
LINE_HEIGHT = 18

KINDS = ("stock", "sslsweep", "floor", "peer-0", "peer-1")


def colours(ink: str, quiet: str, grid: str, ground: str, *kinds: str) -> str:
    """No custom properties: not every viewer of SVG knows them."""
    rules = [
        f"text {{ fill: {ink} }} .quiet {{ fill: {quiet} }} .one {{ stroke: {quiet} }}",
        f".grid {{ stroke: {grid} }} .page {{ fill: {ground} }}",
    ]
    rules += [
        f".{kind} .line, .{kind} .band {{ stroke: {colour} }} .{kind} .mark {{ fill: {colour} }}"
        for kind, colour in zip(KINDS, kinds, strict=True)
    ]
    return "\n".join(rules)


STYLE = f"""\
text {{ font: 13px system-ui, sans-serif }} .title {{ font-weight: 600; font-size: 15px }}
.small {{ font-size: 11px }} .one {{ stroke-dasharray: 3 3 }}
.line {{ fill: none; stroke-width: 1.6 }} .floor .line {{ stroke-dasharray: 6 4 }} .band {{ stroke-opacity: .45 }}
{colours("#1f2328", "#57606a", "#d8dee4", "#ffffff", "#b45309", "#1d4ed8", "#57606a", "#86198f", "#15803d")}
@media (prefers-color-scheme: dark) {{
{colours("#e6edf3", "#9da7b3", "#30363d", "#0d1117", "#f0a04b", "#6cb0ff", "#9da7b3", "#d8a0f0", "#5fd08a")} }}"""


@dataclass
class Series:
    """A line through (x, median, smallest, largest). Those of one kind look alike and share a legend."""

    kind: str  # a class of STYLE
    legend: str
    points: list[tuple[float, float, float, float]]
    name: str = ""  # stands at the line's end


def mark(kind: str, x: float, y: float) -> str:
    shapes = {
        "stock": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
        "sslsweep": f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>',
        "floor": f'<path d="M{x - 5:.1f} {y:.1f}h10v2h-10z"/>',
        "peer-0": f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z"/>',
        "peer-1": f'<path d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z"/>',
    }
    return shapes[kind].replace("/>", ' class="mark"/>')


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{chosen}>{escape(words)}</text>'


def page(title: str, height: float, parts: list[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'width="{WIDTH}" height="{height:.0f}">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<rect class="page" width="100%" height="100%"/>',
            text(16, 24, title, kind="title"),
            *parts,
            "</svg>",
            "",
        ]
    )


def legend(kinds: dict[str, str], top: float) -> list[str]:
    """One line each: names of several libssl are long."""
    parts = []
    for at, (kind, words) in enumerate(kinds.items()):
        y = top + at * LINE_HEIGHT
        parts.append(f'<g class="{kind}"><path class="line" d="M16 {y - 4}h24"/>{mark(kind, 28, y - 4)}</g>')
        parts.append(text(48, y, words))
    return parts


def decades(low: float, high: float) -> tuple[int, int]:
    first = math.floor(math.log10(low))
    return first, max(math.ceil(math.log10(high)), first + 1)


def ticks(first: int, last: int) -> list[tuple[float, bool]]:
    """(value, labelled): 1, 2 and 5 of each decade where there are few."""
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    return [
        (step * 10.0**power, True)
        for power in range(first, last + 1)
        for step in steps
        if step * 10.0**power <= 10.0**last * 1.0001
    ]


def nanoseconds(value: float) -> str:
    for limit, word in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if value >= limit * 0.9999:
            return f"{value / limit:g} {word}"
    return f"{value:g} ns"


def count(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def curves(
    title: str, series: list[Series], caption: str = "sessions stored", label: Callable[[float], str] = count
) -> str:
    """Times in nanoseconds by the number of stored sessions, both scales logarithmic."""
    series = [one for one in series if one.points]
    kinds = {one.kind: one.legend for one in series}
    top = 40 + len(kinds) * LINE_HEIGHT + 12
    bottom = top + HEIGHT - BOTTOM - 80
    height = bottom + BOTTOM
    xs = sorted({point[0] for one in series for point in one.points})
    first, last = decades(
        min(point[2] for one in series for point in one.points),
        max(point[3] for one in series for point in one.points),
    )
    span = math.log10(xs[-1] / xs[0]) or 1

    def across(x: float) -> float:
        return LEFT + 24 + (WIDTH - LEFT - RIGHT - 24 - NAMES) * math.log10(x / xs[0]) / span

    def down(y: float) -> float:
        return bottom - (bottom - top) * (math.log10(y) - first) / (last - first)

    parts = legend(kinds, 48)
    for value, _ in ticks(first, last):
        parts.append(f'<path class="grid" d="M{LEFT} {down(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 8, down(value) + 4, nanoseconds(value), "end", "quiet"))
    for x in xs:
        parts.append(text(across(x), bottom + 20, label(x), "middle", "quiet"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, bottom + 40, caption, "middle", "quiet"))
    for one in series:
        parts.append(f'<g class="{one.kind}">')
        path = "L".join(f"{across(x):.1f} {down(y):.1f}" for x, y, _, _ in one.points)
        parts.append(f'<path class="line" d="M{path}"/>')
        for x, y, low, high in one.points:
            parts.append(f'<path class="band" d="M{across(x):.1f} {down(low):.1f}V{down(high):.1f}"/>')
            parts.append(mark(one.kind, across(x), down(y)))
        parts.append("</g>")
    ends = [(across(one.points[-1][0]), down(one.points[-1][1]), one.name) for one in series if one.name]
    return page(title, height, parts + names(ends))


def names(ends: list[tuple[float, float, str]]) -> list[str]:
    """Those that would lie over each other share a line; if all do, there is nothing to tell apart."""
    groups: list[tuple[float, float, list[str]]] = []
    for x, y, name in sorted(ends):
        if groups and groups[-1][0] == x and y - groups[-1][1] < LINE_HEIGHT:
            groups[-1][2].append(name)
        else:
            groups.append((x, y, [name]))
    if len(groups) < 2:
        return []
    return [text(x + 10, y + 4, ", ".join(held), kind="quiet small") for x, y, held in groups]


def ratios(title: str, legend_words: str, rows: list[tuple[str, list[float]]]) -> str:
    """One line a row: each libssl's ratio to stock, 1 in the middle of what is shown."""
    values = [value for _, held in rows for value in held]
    low, high = min([*values, 0.9]), max([*values, 1.1])
    low, high = low / 1.05, high * 1.05
    left, top = 250, 40 + LINE_HEIGHT + 16
    bottom = top + len(rows) * 26
    span = math.log(high / low)

    def across(value: float) -> float:
        return left + (WIDTH - left - RIGHT) * math.log(value / low) / span

    parts = legend({"sslsweep": legend_words}, 48)
    all_steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 200)
    steps = [step for step in all_steps if low <= step <= high]
    shown = -100.0
    for step in steps:
        kind = "one" if step == 1 else "grid"
        parts.append(f'<path class="{kind}" d="M{across(step):.1f} {top - 6}V{bottom}"/>')
        if across(step) - shown > 36 or step == 1:
            parts.append(text(across(step), bottom + 18, f"{step:g}", "middle", "quiet"))
            shown = across(step)
    for at, (words, held) in enumerate(rows):
        y = top + at * 26 + 10
        parts.append(text(left - 12, y + 4, words, "end"))
        parts.append(
            '<g class="sslsweep">' + "".join(mark("sslsweep", across(value), y) for value in held) + "</g>"
        )
    return page(title, bottom + 36, parts)
