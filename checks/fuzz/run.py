#!/usr/bin/env python3
"""run.py: builds the fuzzers and lets each run for a while, from the corpora that are kept (`make fuzz`).

  FUZZ_SECONDS  for each fuzzer; 20 by default
  FUZZERS       some of cache, calls and seal; all by default
  LIBSSL        system, a release that tools/libssl.py builds, or a folder with include/ and lib/
  LINKAGE       symbolic or plt, of such a release
  GROW=1        put what new inputs reach into the corpora, as few inputs as will do

A finding is kept below build/fuzz/found/ and named, with the command that shows it again; with -minimize_crash=1
-runs=100000 it becomes shorter. A finding that is fixed goes to checks/fuzz/regressions/FUZZER/.

Coverage comes from options of a stable rustc, libFuzzer from the crate libfuzzer-sys, which needs a C++ compiler.
(cargo-fuzz was rejected: it wants a nightly rustc, and knows no preloaded library.)"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUILT = TOP / "build" / "fuzz"
sys.path.insert(0, str(TOP / "tools"))

import libssl  # noqa: E402

ENV = os.environ
SECONDS = ENV.get("FUZZ_SECONDS") or "20"
FUZZERS = (ENV.get("FUZZERS") or "cache calls seal").split()
TARGET = pathlib.Path(ENV.get("FUZZ_TARGET_DIR") or BUILT / "target")
COVERAGE = ("--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 "
            "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table")
# The library as it is, but that it counts where it goes, checks itself, and dies of a panic.
CHECKED = {"LTO": "off", "DEBUG_ASSERTIONS": "true", "OVERFLOW_CHECKS": "true", "PANIC": "abort"}


def choose() -> tuple[str, dict[str, str]]:
    """The libssl: its name, and the environment in which programs are built with it and run."""
    word, linkage = ENV.get("LIBSSL") or "system", ENV.get("LINKAGE") or "symbolic"
    if word == "system":
        return word, {"OPENSSL_LIBS": "-lssl -lcrypto"}
    prefix = pathlib.Path(word)
    if prefix.is_absolute():
        name = f"{prefix.parent.name}-{prefix.name}"
    else:
        prefix, name = libssl.build(word, linkage), f"{word}-{linkage}"
    return name, libssl.variables(prefix)


def build(cell: str, settings: dict[str, str]) -> None:
    host = re.search("^host: (.*)$", libssl.output("rustc", "-vV"), re.M)[1]
    release = TARGET / host / "release"
    env = ENV | settings | {"RUSTFLAGS": COVERAGE, "CARGO_TARGET_DIR": str(TARGET)}
    quiet = ["--quiet", "--release", "--locked", "--target", host]
    subprocess.run(["cargo", "build", *quiet], cwd=HERE, env=env, check=True)
    for fuzzer in FUZZERS:
        shutil.copy2(release / fuzzer, BUILT / cell)
    subprocess.run(["cargo", "rustc", *quiet, "--lib", "--crate-type", "staticlib"], cwd=TOP, check=True,
                   env=env | {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in CHECKED.items()})
    nodes = (TOP / "checks/abi/nodes.map").read_text().replace("sslsweep_*;", "sslsweep_*; __sanitizer_cov_*;")
    (BUILT / "nodes.map").write_text(nodes)
    link = [f"-Wl,--version-script={BUILT}/nodes.map", "-Wl,-u,sslsweep_version", "-Wl,-z,relro,-z,now,-z,defs"]
    subprocess.run(["cc", "-shared", "-o", BUILT / "libsslsweep.so", *link, HERE / "no_coverage.c",
                    release / "libsslsweep.a", "-lgcc_s", "-lpthread", "-ldl", "-lc"], check=True)


def fuzz(fuzzer: str, cell: str, settings: dict[str, str]) -> bool:
    """Lets one fuzzer run. Returns whether it found nothing."""
    found, grown, kept = BUILT / "found" / f"{fuzzer}-{cell}", BUILT / "corpus" / fuzzer, HERE / "corpus" / fuzzer
    for folder in (found, grown, kept):
        folder.mkdir(parents=True, exist_ok=True)
    program, path = BUILT / cell / fuzzer, BUILT / cell / f"{fuzzer}.log"
    settings = settings | ({"LD_PRELOAD": f"{BUILT}/libsslsweep.so"} if fuzzer == "calls" else {})

    def run(*arguments: object, mode: str = "w") -> bool:
        options = ["-timeout=20", "-rss_limit_mb=2048", "-max_len=1024", "-len_control=0", f"-artifact_prefix={found}/"]
        with path.open(mode) as log:
            command = [program, *options, *arguments]
            return subprocess.run(command, env=ENV | settings, stdout=log, stderr=log, check=False).returncode == 0

    def end(lines: int) -> str:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    # What was found once, then what is known to reach much, then what comes up.
    for regression in sorted((HERE / "regressions" / fuzzer).glob("*")):
        if not run(regression):
            sys.exit(f"{end(40)}\nfuzz: {fuzzer} fails at {regression}")
    well = run(f"-max_total_time={SECONDS}", "-print_final_stats=1", grown, kept)
    said = path.read_text(errors="replace")
    if well:
        runs = re.search(r"^stat::number_of_executed_units: *(\d+)", said, re.M)[1]
        edges, features = re.findall(r" cov: (\d+) ft: (\d+) ", said)[-1]
        print(f"fuzz: {fuzzer} on {cell}: {runs} inputs, {edges} edges, {features} features, nothing found")
        for line in re.findall(r"^calls: .*", said, re.M)[-1:]:
            print(f"fuzz: {line}")
    else:
        where = re.search(r"Test unit written to (.*)", said)
        again = [f"{name}={settings[name]}" for name in ("LD_LIBRARY_PATH", "LD_PRELOAD") if name in settings]
        print(f"{end(60)}\nfuzz: {fuzzer} on {cell} has found something; all of it in {path}")
        print("fuzz: again:", *again, program, where[1] if where else "")
    if ENV.get("GROW"):
        # By edges alone, not by how often each is passed: that would be ten times as many.
        run("-set_cover_merge=1", "-use_counters=0", kept, grown, mode="a")
    return well


def main() -> None:
    cell, settings = choose()
    (BUILT / cell).mkdir(parents=True, exist_ok=True)
    build(cell, settings)
    sys.exit(not all([fuzz(fuzzer, cell, settings) for fuzzer in FUZZERS]))


if __name__ == "__main__":
    main()
