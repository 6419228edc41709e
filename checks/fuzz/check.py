#!/usr/bin/env python3
"""check.py: can the fuzzers find anything? Each defect of defects.tsv, put into a copy of the sources, must be found
within FUZZ_SECONDS (60) from the corpora that are kept (`make fuzz-check`). DEFECTS selects lines by a pattern. With the argument `texts` it only looks whether each
defect still fits the sources."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
COPY = TOP / "build/fuzz/defect"
PARTS = "src crates checks tests-c include tools build.rs cbindgen.toml Cargo.toml Cargo.lock".split()
# One target for all copies, for the sake of what they depend on; not that of the fuzzers, or a defect might stay there.
ENV = {"FUZZ_SECONDS": "60", **os.environ, "FUZZ_TARGET_DIR": str(TOP / "build/fuzz/target-defects")}


def check_text(file: str, change: str) -> None:
    source = TOP / file
    if subprocess.run(["sed", change, source], check=True, stdout=subprocess.PIPE).stdout == source.read_bytes():
        sys.exit(f"fuzz-check: the sources have changed, so that this defect is none any more: {file}: {change}")


def is_found(fuzzer: str, file: str, change: str, what: str) -> bool:
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    subprocess.run(["cp", "-R", *PARTS, COPY], cwd=TOP, check=True)
    subprocess.run(["sed", "-i", change, COPY / file], check=True)
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-B", COPY / "checks/fuzz/run.py"], env=ENV | {"FUZZERS": fuzzer}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 0:
        print(f"fuzz-check: {fuzzer} has missed: {what}", flush=True)
        return False
    if not re.search("has found something|fails at", done.stdout):
        sys.exit(done.stdout)
    print(f"fuzz-check: {fuzzer} finds, building included, in {time.monotonic() - began:.0f} s: {what}", flush=True)
    return True


def main() -> None:
    lines = re.findall("^[^#].*", (TOP / "checks/fuzz/defects.tsv").read_text(), re.M)
    defects = [line.split("\t") for line in lines if re.search(os.environ.get("DEFECTS", ""), line)]
    for _, file, change, _ in defects:
        check_text(file, change)
    if sys.argv[1:] == ["texts"]:
        return
    found = sum([is_found(*defect) for defect in defects])
    shutil.rmtree(COPY, ignore_errors=True)
    print(f"fuzz-check: {found} of {len(defects)} defects found")
    sys.exit(found != len(defects) or not defects)


if __name__ == "__main__":
    main()
