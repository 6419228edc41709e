#!/usr/bin/env python3
"""run.py LIB: tries sharing with programs that nobody here wrote, and with small servers of Python's ssl module. LIB is
sslsweep's library, beside which its share library lies. Prints TAP, then which promises were named by passing checks
and how many passed. Exits 1 if any check failed, or if all scenarios were played and a promise was not named.

  SCENARIOS="processes nginx"  only these files, or single scenarios as FILE/NUMBER (by environment)
  MINUTES=5                    how long storms last (seconds otherwise)
"""

from __future__ import annotations

import importlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

from harness import PROMISES, Certificate, Failure, Scenario, Site

FILES = ["processes", "workers", "hosts", "fleet", "ftp_data", "stateful", "removal", "faults", "keys", "hostile", "secrets",
         "storms"]


def play(scenario: Scenario, folder: pathlib.Path, lib: pathlib.Path, certificate: Certificate) -> Site:
    site = Site(folder, lib, certificate)
    failed = None
    try:
        scenario.play(site)
    except Failure as failure:
        failed = str(failure)
    except Exception:  # a server that behaves unexpectedly is what this is all about
        failed = traceback.format_exc()
    finally:
        site.close()
    site.results.append(("it went on to its end", failed is None, failed or ""))
    site.results.append(("no internal error", not site.internal_error(), "see standard error"))
    return site


def selected() -> list[tuple[str, Scenario]]:
    words = os.environ.get("SCENARIOS", "").split() or FILES
    found = []
    for word in words:
        file, _, number = word.partition("/")
        if file not in FILES:
            sys.exit(f"SCENARIOS: {word}: not among {' '.join(FILES)}")
        scenarios = importlib.import_module(file).SCENARIOS
        found += [(file, scenario) for scenario in ([scenarios[int(number)]] if number else scenarios)]
    return found


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib = pathlib.Path(sys.argv[1]).resolve()
    begun = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sharing."))
    folder.chmod(0o755)
    passed = failed = 0
    named: set[str] = set()
    try:
        certificate = Certificate.make(folder, "localhost")
        for number, (file, scenario) in enumerate(selected()):
            since = time.monotonic()
            site = play(scenario, folder / str(number), lib, certificate)
            for what, holds, facts in site.results:
                passed, failed = passed + holds, failed + (not holds)
                print(f"{'ok' if holds else 'not ok'} {passed + failed} - {file}, {scenario.what}: {what}")
                if not holds:
                    print("\n".join(f"#   {line}" for line in facts.splitlines()))
                elif what.startswith("S"):
                    named |= set(what.partition(":")[0].split())
            if not all(holds for _, holds, _ in site.results):
                print("\n".join(f"#   | {line}" for line in site.said().splitlines()[-15:]))
            print(f"# {file}, {scenario.what}: {time.monotonic() - since:.0f} s", flush=True)
            shutil.rmtree(site.folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not os.environ.get("SCENARIOS"):
        missing = [promise for promise in PROMISES if promise not in named]
        passed, failed = passed + (not missing), failed + bool(missing)
        print(f"{'not ok' if missing else 'ok'} {passed + failed} - each promise is named by a passing check {missing or ''}")
    print(f"1..{passed + failed}")
    print(f"# named by passing checks: {' '.join(p for p in PROMISES if p in named)}; "
          f"it took {time.monotonic() - begun:.0f} seconds")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
