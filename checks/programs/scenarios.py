"""Scenarios whose checks name the promises that they are about: what the tests of sharing and of the fleet have in common."""

from __future__ import annotations

import abc
import dataclasses
import importlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence

from support import Failure


class Findings(abc.ABC):
    """What was found in a scenario."""

    promises: tuple[str, ...]  # that a check may name

    def __init__(self) -> None:
        self.results: list[tuple[str, bool, str]] = []
        self.left: set[str] = set()  # promises of which something was left out

    def check(self, promises: str, what: str, got: object, wanted: object) -> None:
        """The promises are words."""
        self.so(promises, what, got == wanted, f"got {got!s:.500}\nwanted {wanted!s:.500}")

    def so(self, promises: str, what: str, holds: object, facts: object = "") -> None:
        assert set(promises.split()) <= set(self.promises), promises
        self.results.append((f"{promises}: {what}", bool(holds), str(facts)))

    def left_out(self, promises: str, what: str, why: str) -> None:
        """TAP has no quieter way to say that something was not tried."""
        self.results.append((f"{what} # SKIP {why} ({promises})", True, ""))
        self.left |= set(promises.split())

    @abc.abstractmethod
    def close(self) -> None:
        """Ends what the scenario has started."""

    @abc.abstractmethod
    def at_the_end(self) -> tuple[str, bool, str]:
        """A check of every scenario: what, whether it holds, and the facts."""

    @abc.abstractmethod
    def logs(self) -> Iterator[tuple[str, str]]:
        """What the processes have said, by name."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    what: str
    play: Callable[[Findings], None]
    programs: tuple[str, ...] = ()  # as tools/setup.sh calls them


def play(scenario: Scenario, site: Findings) -> None:
    failed = None
    try:
        scenario.play(site)
    except Failure as failure:
        failed = f"{failure}\n{traceback.format_exc()}"
    except Exception:  # whatever was unexpected, the other scenarios are played
        failed = traceback.format_exc()
    finally:
        site.close()
    site.results += [("it went on to its end", failed is None, failed or ""), site.at_the_end()]


def selected(files: Sequence[str]) -> list[tuple[str, Scenario]]:
    found = []
    for word in os.environ.get("SCENARIOS", "").split() or files:
        file, _, number = word.partition("/")
        if file not in files:
            sys.exit(f"SCENARIOS: {word}: not among {' '.join(files)}")
        scenarios = importlib.import_module(file).SCENARIOS
        found += [(file, scenario) for scenario in ([scenarios[int(number)]] if number else scenarios)]
    return found


def main(files: Sequence[str], promises: Sequence[str], prefix: str, site_of: Callable[[pathlib.Path], Findings],
         may_leave_out: bool = False) -> None:
    """Plays the selected scenarios of these files, each at a site of its own below a temporary folder, and ends the program.
    `site_of` makes a site in a folder that is not there yet. Of a run of all scenarios each promise must be named by a check
    that passes; or, if it `may_leave_out` some, be left out."""
    begun = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{prefix}."))
    folder.chmod(0o755)  # for servers that change their user
    passed = failed = 0
    named: set[str] = set()
    left: set[str] = set()
    try:
        for number, (file, scenario) in enumerate(selected(files)):
            since = time.monotonic()
            scene = folder / str(number)
            site = site_of(scene)
            play(scenario, site)
            for what, holds, facts in site.results:
                passed, failed = passed + holds, failed + (not holds)
                print(f"{'ok' if holds else 'not ok'} {passed + failed} - {file}, {scenario.what}: {what}")
                if not holds:
                    print("\n".join(f"#   {line}" for line in facts.splitlines()))
                elif what.startswith("S"):
                    named |= set(what.partition(":")[0].split())
            left |= site.left
            if not all(holds for _, holds, _ in site.results):
                for name, text in site.logs():
                    print("\n".join(f"#   | {name}: {line}" for line in text.splitlines()[-15:]))
            print(f"# {file}, {scenario.what}: {time.monotonic() - since:.0f} s", flush=True)
            shutil.rmtree(scene, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not os.environ.get("SCENARIOS"):
        missing = [promise for promise in promises if promise not in named | (left if may_leave_out else set())]
        passed, failed = passed + (not missing), failed + bool(missing)
        print(f"{'not ok' if missing else 'ok'} {passed + failed} - each promise is named by a passing check {missing or ''}")
    print(f"1..{passed + failed}")
    print(f"# named by passing checks: {' '.join(p for p in promises if p in named)}; "
          f"it took {time.monotonic() - begun:.0f} seconds")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
