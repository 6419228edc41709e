#!/usr/bin/env python3
"""soak.py MINUTES [VERSION...]: the stress program (handshake/hs_stress.c) for some minutes in all, shared among the
libssl named: `system` (the default) and releases that tools/libssl.py builds, in both linkages.

Half a minute a run, each with the next seed and the next of our three ways. SEED is the first; it is printed, and a
failure says how to repeat its run. (A seed decides what each thread does, not how they meet.)"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
sys.path.insert(0, str(HERE.parent / "tools"))

import libssl  # noqa: E402

WAYS = ("preload", "shared", "static")


def run(cell: libssl.Libssl, seed: int, length: int) -> bool:
    """One run, with this seed and the way that it stands for."""
    way = WAYS[seed % len(WAYS)]
    name = cell.version if cell.prefix is None else f"{cell.version}-{cell.linkage}"
    folder = BUILD / "tests" if cell.prefix is None else BUILD / "matrix" / cell.version
    libraries = f"{BUILD}/lib" + (f":{cell.prefix}/lib" if cell.prefix else "")
    settings = {"STRESS_SEED": str(seed), "STRESS_SECONDS": str(length), "LD_LIBRARY_PATH": libraries}
    if way == "preload":
        settings["LD_PRELOAD"] = f"{BUILD}/lib/libsslsweep.so"
    program = folder / ("stock" if way == "preload" else way) / "hs_stress"
    print(f"soak: {name}, {way}, seed {seed}, {length} s", flush=True)
    lines = []
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([program], env=os.environ | settings, **pipe) as process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            if re.search(r"^# [0-9]+ s:|FAILED|GAVE UP", line):
                print(line, end="", flush=True)
    if process.returncode == 0 and {"done\n", "# under: sslsweep\n"} <= set(lines):
        return True
    print(*lines, sep="", end="")
    print(f"soak: to repeat: {' '.join(f'{name}={value}' for name, value in settings.items())} {program}")
    return False


def main() -> None:
    if len(sys.argv) < 2 or not sys.argv[1].isdigit() or int(sys.argv[1]) == 0:
        sys.exit("usage: soak.py MINUTES [VERSION...]")
    cells = libssl.find(sys.argv[2:] or ["system"])
    for cell in cells:
        folder = BUILD / "tests" if cell.prefix is None else BUILD / "matrix" / cell.version
        variables = [f"LIBDIR={BUILD}/lib", f"BUILD={folder}", *cell.make, "TEST_NAMES=hs_stress",
                     f"TEST_WAYS={' '.join(WAYS)}"]
        subprocess.run(["make", "-s", "--no-print-directory", "-C", HERE, "-j2", "all", *variables], check=True)
    share = int(sys.argv[1]) * 60 // len(cells)
    length = min(share, 30)
    seed = int(os.environ.get("SEED") or time.time())
    began = time.monotonic()
    passed = 0
    for _ in range(share // length):
        for cell in cells:
            if not run(cell, seed, length):
                sys.exit(f"{passed} passed, 1 failed")
            passed += 1
            seed += 1
    print(f"soak: {share // length} rounds on {len(cells)} libssl, {time.monotonic() - began:.0f} s")
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
