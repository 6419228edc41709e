#!/usr/bin/env python3
"""matrix.py [VERSION...]: the whole C harness on each libssl, all that tools/libssl.py knows by default.

A cell is a release in one of its two linkages, or `system`, the libssl that is installed. Programs are compiled and
linked once for a release, since its linkages have the same headers and symbols. What each cell printed is in
build/matrix/VERSION-LINKAGE/, the numbers in build/matrix/results.tsv: version, linkage, the libssl that was asked,
way, programs passed, programs failed."""

from __future__ import annotations

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
MATRIX = BUILD / "matrix"
sys.path.insert(0, str(HERE.parent / "tools"))

import libssl  # noqa: E402

WAYS = ("stock", "preload", "shared", "static")
COLUMNS = ("version", "linkage", "libssl", "way", "passed", "failed")


def read(path: pathlib.Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def run(cell: libssl.Libssl) -> list[tuple]:
    """Runs the harness in a cell; the rows of its results."""
    out = MATRIX / f"{cell.version}-{cell.linkage}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    began = time.monotonic()
    build = BUILD / "tests" if cell.prefix is None else MATRIX / cell.version
    variables = [f"BUILD={build}", f"LIBDIR={BUILD}/lib", f"TEST_OUT={out}", *cell.make]
    if cell.prefix:
        variables.append(f"TEST_LIBSSL=OpenSSL {cell.version} {cell.linkage}")
    # As make's variables they reach its recipes through the environment too. Four at a time: most programs wait more
    # than they compute.
    command = ["make", "-s", "--no-print-directory", "-C", HERE, "-j2", "check", *variables, "TEST_JOBS=4"]
    with (out / "log").open("w") as log:
        failed = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode != 0
    if failed:
        print(read(out / "log"))
    ended = "not all well" if failed else "all well"
    print(f"matrix: {cell.version} {cell.linkage}: {ended}, {time.monotonic() - began:.0f} s", flush=True)

    said = re.search(r"^# libssl: OpenSSL (\S+) .*, (\w+)$", read(out / "flush_basic.stock.out"), re.M)
    # The linkage of the system's is seen now.
    where = (cell.version, said[2] if said else "unknown", said[1] if said else "unknown")
    count = collections.Counter(tuple(line.split("\t")[1:]) for line in read(out / "results.tsv").splitlines())
    rows = [(*where, way, count[way, "passed"], count[way, "failed"]) for way in WAYS]
    rows = [row for row in rows if row[-2] + row[-1]]
    if failed and not any(row[-1] for row in rows):  # at building, or it did not come to its end
        rows.append((*where, "harness", 0, 1))
    return rows


def show(rows: list[tuple]) -> None:
    line = "{:<8} {:<10} {:<10} {:>10} {:>10} {:>10} {:>10}".format
    print("\n" + line("version", "linkage", "libssl", *WAYS))
    cells: dict[tuple, dict[str, str]] = {}
    for *where, way, passed, failed in rows:
        if way in WAYS:
            cells.setdefault(tuple(where), {})[way] = f"{passed} +{failed}!" if failed else str(passed)
    for where, numbers in cells.items():
        print(line(*where, *(numbers.get(way, "") for way in WAYS)))
    for version, linkage, _, way, _, failed in rows:
        if way not in WAYS:
            print(f"{version} {linkage}, {way}: {'failed' if failed else 'passed'}")
    passed, failed = sum(row[4] for row in rows), sum(row[5] for row in rows)
    print(f"(programs passed; +N! failed)\n\n{passed} passed, {failed} failed")


def main() -> None:
    cells = libssl.find(sys.argv[1:] or ["system", *libssl.RELEASES])
    MATRIX.mkdir(parents=True, exist_ok=True)
    rows = [row for cell in cells for row in run(cell)]
    # The header beside <openssl/ssl.h> of each release.
    headers = " ".join(sorted({f"{cell.prefix}/include" for cell in cells if cell.prefix and cell.linkage == "plt"}))
    env = os.environ | {"HEADER_DIRS": headers}
    done = subprocess.run(["prove", "header.t"], cwd=HERE, env=env, capture_output=True, text=True, check=False)
    (MATRIX / "header.log").write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        print(done.stdout + done.stderr)
    rows.append(("all", "-", "-", "header", int(done.returncode == 0), int(done.returncode != 0)))
    (MATRIX / "results.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in [COLUMNS, *rows]))
    show(rows)
    sys.exit(any(row[5] for row in rows))


if __name__ == "__main__":
    main()
