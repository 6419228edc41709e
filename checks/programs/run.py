#!/usr/bin/env python3
"""run.py LIB: runs unchanged servers on libssl alone and with sslsweep's library LIB preloaded, lets the same
clients visit both, and compares what the clients see, what libssl's counters say, how the servers end and what
memory they take. Exits 1 if anything differs.

  PROGRAMS="nginx h2o"  only these (by environment)
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from support import BUILD, MEMORY_EXTRA, MEMORY_FACTOR, ROOT, Certificate, Failure, Run, Scenario

LEGEND = f"""\
Each program on libssl alone (stock) and with sslsweep. Equal: how many values were compared, all of which
must be equal. Resident memory, of all processes of the server: at most {MEMORY_FACTOR} times stock's and
{MEMORY_EXTRA} MiB for each process.

{"program":<15}{"version":<10}{"scenario":<27}{"equal":>6}{"MiB stock":>11}{"sslsweep":>10}{"bound":>7}  result"""

NAMES = ["nginx", "h2o", "stunnel", "vsftpd", "proftpd", "redis", "mariadb", "s_server", "haproxy", "httpd"]


def build_observer() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
                    "-Wno-deprecated-declarations", "-shared", "-fPIC", "-pthread", "-o", BUILD / "observe.so",
                    pathlib.Path(__file__).with_name("observe.c"), "-ldl"], check=True)


def play(scenario: Scenario, folder: pathlib.Path, lib: pathlib.Path | None, certificate: Certificate) -> Run:
    run = Run(folder, lib, certificate)
    try:
        scenario.play(run)
    except Failure as failure:
        run.complaints.append(str(failure))
    except Exception:  # a server that behaves unexpectedly is what this is all about
        run.complaints.append(traceback.format_exc())
    finally:
        run.close()
    if lib:
        run.need("sslsweep took the internal session cache over", run.took_over())
        run.need("sslsweep has met no internal error", not run.internal_error())
        scenario.proof(run)
    else:
        run.need("stock is without sslsweep", "sslsweep" not in run.errors.read_text(errors="replace"))
    return run


def complaints(stock: Run, ours: Run) -> list[str]:
    found = [f"stock: {c}" for c in stock.complaints] + [f"sslsweep: {c}" for c in ours.complaints]
    for label in {**stock.seen, **ours.seen}:
        mine, its = ours.seen.get(label), stock.seen.get(label)
        if mine != its:
            found.append(f"{label}: {mine}, stock: {its}")
    if not stock.memory:
        found.append("memory was not measured")
    if ours.memory > bound(stock):
        found.append(f"resident memory: {ours.memory:.1f} MiB, bound {bound(stock):.1f}")
    return found


def bound(stock: Run) -> float:
    return stock.memory * MEMORY_FACTOR + MEMORY_EXTRA * stock.processes


def tail(path: pathlib.Path, lines: int = 15) -> str:
    return "\n".join(f"      | {line}" for line in path.read_text(errors="replace").splitlines()[-lines:])


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib = pathlib.Path(sys.argv[1]).resolve()
    if {" ", ":"} & set(f"{lib}{BUILD}"):
        sys.exit(f"{lib} and {BUILD} must be without spaces and colons: LD_PRELOAD cannot hold such paths")
    names = os.environ.get("PROGRAMS", "").split() or NAMES
    if unknown := set(names) - set(NAMES):
        sys.exit(f"PROGRAMS: {' '.join(sorted(unknown))}: not among {' '.join(NAMES)}")
    build_observer()

    print(LEGEND, flush=True)
    results = []
    begun = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="programs."))
    folder.chmod(0o755)
    try:
        certificate = Certificate.make(folder, "localhost")
        for name in names:
            for scenario in importlib.import_module(name).SCENARIOS:
                version = scenario.program.version()
                where = folder / str(len(results))
                where.mkdir()
                stock = play(scenario, where / "stock", None, certificate)
                ours = play(scenario, where / "sslsweep", lib, certificate)
                wrong = complaints(stock, ours)
                program = scenario.program.executable
                print(f"{program:<15}{version:<10}{scenario.what:<27}{len(stock.seen):>6}{stock.memory:>11.1f}"
                      f"{ours.memory:>10.1f}{bound(stock):>7.0f}  {'FAILED' if wrong else 'passed'}", flush=True)
                for complaint in wrong:
                    print("    " + complaint.rstrip().replace("\n", "\n    "))
                if wrong:
                    print(f"    standard error, stock:\n{tail(stock.errors)}")
                    print(f"    with sslsweep:\n{tail(ours.errors)}", flush=True)
                results.append({"name": program, "version": version, "scenario": scenario.what, "passed": not wrong,
                                "memory_mib": {"stock": round(stock.memory, 1), "sslsweep": round(ours.memory, 1)},
                                "seen": ours.seen, "sslsweep": ours.ours()})
    finally:
        shutil.rmtree(folder)
    report = BUILD / "results.json"
    report.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nWritten: {report.relative_to(ROOT)}. It took {time.monotonic() - begun:.0f} seconds.")
    failed = sum(not result["passed"] for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not results else 0)


if __name__ == "__main__":
    main()
