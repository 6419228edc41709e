#!/usr/bin/env python3
"""run.py PROGRAMS LIB: the agent, with engines, segments and servers that the tests start. PROGRAMS is the folder with the
command, the agent (sslsweep-shared) and the examples of its crate; LIB is sslsweep's library, beside which its share
library lies. Prints TAP; exits 1 if any check failed, or if all scenarios were
played and a promise was neither named nor left out.

  SCENARIOS="engines agents/3"  only these files, or single scenarios as FILE/NUMBER (by environment)
  ENGINE=/PATH/valkey-server    another engine than Redis
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

from harness import PROMISES, Failure, Scenario, Site, Tls

FILES = ["engines", "agents", "hosts"]


def play(scenario: Scenario, folder: pathlib.Path, programs: pathlib.Path, library: pathlib.Path, tls: Tls) -> Site:
    site = Site(folder, programs, library, tls)
    failed = None
    try:
        scenario.play(site)
    except Failure as failure:
        failed = f"{failure}\n{traceback.format_exc()}"
    except Exception:  # whatever was unexpected, the other scenarios are played
        failed = traceback.format_exc()
    finally:
        site.close()
    site.results.append(("it went on to its end", failed is None, failed or ""))
    logs = [site.said(), *(log.read_text(errors="replace") for log in site.folder.glob("machine.*.log"))]
    site.results.append(("no panic", not any("panicked" in log for log in logs), "\n".join(logs)[-2000:]))
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
    if len(sys.argv) != 3 or not pathlib.Path(sys.argv[1]).is_dir() or not pathlib.Path(sys.argv[2]).is_file():
        sys.exit(__doc__)
    programs, library = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    begun = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fleet."))
    folder.chmod(0o755)  # for servers that change their user
    passed = failed = 0
    named: set[str] = set()
    untried: set[str] = set()
    try:
        tls = Tls.make(folder)
        for number, (file, scenario) in enumerate(selected()):
            since = time.monotonic()
            site = play(scenario, folder / str(number), programs, library, tls)
            for what, holds, facts in site.results:
                passed, failed = passed + holds, failed + (not holds)
                print(f"{'ok' if holds else 'not ok'} {passed + failed} - {file}, {scenario.what}: {what}")
                if not holds:
                    print("\n".join(f"#   {line}" for line in facts.splitlines()))
                elif what.startswith("S"):
                    named |= set(what.partition(":")[0].split())
            untried |= site.untried
            if not all(holds for _, holds, _ in site.results):
                for log in [*site.folder.glob("*log"), *site.folder.glob("*/log")]:
                    print("\n".join(f"#   | {log.name}: {line}" for line in log.read_text(errors="replace").splitlines()[-15:]))
            print(f"# {file}, {scenario.what}: {time.monotonic() - since:.0f} s", flush=True)
            shutil.rmtree(site.folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not os.environ.get("SCENARIOS"):
        missing = [promise for promise in PROMISES if promise not in named | untried]
        passed, failed = passed + (not missing), failed + bool(missing)
        print(f"{'not ok' if missing else 'ok'} {passed + failed} - each promise that was tried is named by a passing check {missing or ''}")
    print(f"1..{passed + failed}")
    print(f"# named by passing checks: {' '.join(p for p in PROMISES if p in named)}; "
          f"it took {time.monotonic() - begun:.0f} seconds")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
