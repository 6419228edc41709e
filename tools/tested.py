#!/usr/bin/env python3
"""tested.py: writes into the README which libssl and which programs were tested, from what the last
runs of `make test-matrix` and `make test-programs` left in build/. Refuses where a run is missing, has
failed, or did not cover every release or program. (`make tested` runs both first.)

tested.py systems: the same with the systems on which the C harness was run, from what the last runs of
`make test-distributions`, `make test-arm64` and `make test-musl` left. (`make tested-systems` runs them first.)"""

from __future__ import annotations

import collections
import csv
import json
import pathlib
import sys

import libssl

TOP = pathlib.Path(__file__).resolve().parent.parent
WAYS = ["stock", "preload", "shared", "static"]
# The releases of Debian, one of which is emulated; each may have backports with a libssl of their own. With musl, stock is
# left out (checks/reach/musl.sh).
SYSTEMS = ["Debian 12", "Debian 13", "Debian 13 on arm64, emulated", "Debian sid"]
MUSL = "musl, in Debian 13"


def read(path: pathlib.Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        sys.exit(f"tested.py: {path.relative_to(TOP)} is missing; run `make tested`")


def matrix() -> list[str]:
    rows = csv.DictReader(read(TOP / "build/matrix/results.tsv").splitlines(), delimiter="\t")
    cells: dict[str, dict[str, dict[str, int]]] = collections.defaultdict(lambda: collections.defaultdict(dict))
    for row in rows:
        if int(row["failed"]):
            sys.exit(f"tested.py: {row['version']} {row['linkage']} {row['way']}: {row['failed']} failed")
        if row["way"] in WAYS:
            cells[row["libssl"]][row["linkage"]][row["way"]] = int(row["passed"])
    if missing := set(libssl.RELEASES) - set(cells):
        sys.exit(f"tested.py: the matrix was run without {' '.join(sorted(missing))}")
    lines = ["| libssl | linked as | test programs, each " + ", ".join(WAYS) + " |", "|---|---|---|"]
    for release, linkages in sorted(cells.items(), key=lambda cell: [int("0" + "".join(filter(str.isdigit, n))) for n in cell[0].split(".")]):
        names = {"symbolic": "upstream (`-Bsymbolic`)", "plt": "Debian (through the PLT)"}
        words = [names.get(linkage, linkage) for linkage in sorted(linkages, reverse=True)]
        counts = {passed for ways in linkages.values() for passed in ways.values()}
        if any(set(ways) != set(WAYS) for ways in linkages.values()):
            sys.exit(f"tested.py: not every way was run on {release}")
        lines.append(f"| {release} | {', '.join(words)} | {'..'.join(map(str, sorted({min(counts), max(counts)})))} passed |")
    return lines


def programs() -> list[str]:
    scenarios: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for result in json.loads(read(TOP / "build/programs/results.json")):
        if not result["passed"]:
            sys.exit(f"tested.py: {result['name']} {result['scenario']} failed")
        scenarios[result["name"], result["version"]].append(result["scenario"])
    lines = ["| program | with and without, the same seen by its clients |", "|---|---|"]
    lines += [f"| {name} {version} | {'; '.join(what)} |" for (name, version), what in scenarios.items()]
    return lines


def systems() -> list[str]:
    passed: dict[tuple[str, str], dict[str, int]] = collections.defaultdict(collections.Counter)
    for run in "distributions", "arm64", "musl":
        for row in read(TOP / f"build/{run}/systems.tsv").splitlines():
            system, version, program, way, result = row.split("\t")
            if result != "passed":
                sys.exit(f"tested.py: {system} {version}: {program} {way} {result}")
            passed[system, version][way] += 1
    if missing := {*SYSTEMS, MUSL} - {system for system, _ in passed}:
        sys.exit(f"tested.py: not run on {', '.join(sorted(missing))}")
    lines = ["| system | package of libssl | test programs, each " + ", ".join(WAYS) + " |", "|---|---|---|"]
    for (system, version), counts in sorted(passed.items()):
        ways = [way for way in WAYS if system != MUSL or way != "stock"]
        if set(counts) != set(ways) or len(set(counts.values())) != 1:
            sys.exit(f"tested.py: not every program was run in every way on {system}")
        lines.append(f"| {system} | {version} | {counts['preload']} passed{', without stock' if system == MUSL else ''} |")
    return lines


def write(name: str, lines: list[str]) -> None:
    readme = TOP / "README.md"
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = readme.read_text().partition(begin)
    _, also, after = rest.partition(end)
    if not found or not also:
        sys.exit(f"tested.py: the README has lost the markers of {name}")
    table = "\n".join(lines)
    readme.write_text(f"{before}{begin}\n{table}\n{end}{after}")


def main() -> None:
    if sys.argv[1:] == ["systems"]:
        write("systems", systems())
    else:
        write("tested", [*matrix(), "", *programs()])


if __name__ == "__main__":
    main()
