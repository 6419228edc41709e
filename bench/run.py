#!/usr/bin/env python3
"""run.py LIB: measures each libssl's own session cache ("stock") against sslsweep's library LIB, preloaded
into the same program, and other libraries as peers. Each measurement is a process of its own; all of them take
turns in every round, so that whatever else the machine does meets each alike. Options by environment:

  SIZES="20000 1000000"         sessions in the cache
  ROUNDS=5                      measurements of each kind; from a million sessions on, 3 if that is less
  ONLY="flush wait"             only measures whose name begins with one of these words
  LIBSSL="system 3.5 boringssl" which libssl; "all" is every one
  BENCH=full                    every libssl, up to four million sessions; takes hours
  STATS=1                       what publishing figures costs: sslsweep with SSLSWEEP_STATS=1 against sslsweep without
"""

from __future__ import annotations

import datetime
import os
import pathlib
import platform
import subprocess
import sys
import time

import catalogue
import libraries
import targets
from results import Results, commit, short, times

HERE = pathlib.Path(__file__).resolve().parent
SIDES = ("stock", "sslsweep")
LIMIT_SECONDS = 600  # of one process; bench ends itself before

LEGEND = """\
Ratios: sslsweep / stock of the same libssl, medians of {rounds}; below 1 is better,
but for handshakes per second, where above 1 is. "!": worse by more than 5 % and
beyond the noise. stock: the best of the stock caches, for the scale.
Store to flush: time for each session. Waits: how long another thread's operation
takes during one flush of half; p99.9: one that begins at a random moment of it."""

LEGEND_STATISTICS = """\
Ratios: sslsweep with SSLSWEEP_STATS=1 / sslsweep without, on the same libssl, medians of {rounds}; below 1 is
better, but for handshakes per second, where above 1 is. "!": worse by more than 5 % and beyond the noise. stock: the
best without, for the scale."""


class Settings:
    def __init__(self) -> None:
        def words(name: str, default: str) -> list[str]:
            return (os.environ.get(name) or default).split()

        self.full = os.environ.get("BENCH") == "full"
        self.sizes = sorted(
            {int(size) for size in words("SIZES", "20000 100000 1000000" + " 4000000" * self.full)}
        )
        self.rounds = int(words("ROUNDS", "5")[0])
        self.statistics = os.environ.get("STATS", "0") not in ("", "0")
        self.only = tuple(words("ONLY", "store flush_half wait handshakes" if self.statistics else ""))
        usual = "system 3.5" if self.statistics else "system 1.1.1 3.5 4.0 boringssl aws-lc"
        self.libssl = words("LIBSSL", "all" if self.full else usual)
        if not self.sizes or self.sizes[0] < 2 or self.rounds < 1:
            sys.exit("bench: SIZES are numbers from 2 on, ROUNDS is one from 1 on")

    def rounds_at(self, size: int) -> int:
        return min(self.rounds, 3) if size >= 1_000_000 else self.rounds

    def measures_at(self, size: int) -> list[catalogue.Measure]:
        return [
            measure
            for measure in catalogue.MEASURES
            if catalogue.runs_at(measure, size, self.sizes, self.full)
            and (not self.only or measure.name.startswith(self.only))
        ]


    def sides_of(self, library: libraries.Library, measure: catalogue.Measure, size: int) -> list[str]:
        if self.statistics:
            return [] if library.peer or measure.stock_only else list(SIDES)
        return sides_of(library, measure, size)

    def side(self, side: str, lib: str) -> tuple[str | None, dict[str, str]]:
        """What is preloaded on a side, and its options."""
        if self.statistics:
            return lib, {"SSLSWEEP_STATS": "1"} if side == "sslsweep" else {}
        return lib if side == "sslsweep" else None, {}


def sides_of(library: libraries.Library, measure: catalogue.Measure, size: int) -> list[str]:
    if measure.stock_only:
        return [] if library.peer else ["stock"]
    if library.peer:
        return ["stock"]
    too_long = measure.largest_ordered is not None and library.ordered and size > measure.largest_ordered
    return ["sslsweep"] if too_long else list(SIDES)


def run(
    program: pathlib.Path, lib: str | None, *arguments: str, **options: str
) -> subprocess.CompletedProcess:
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("LD_PRELOAD", "LD_LIBRARY_PATH", "SSLSWEEP_STATS")
    }
    environment |= options
    if lib:
        environment["LD_PRELOAD"] = lib
    side = "under sslsweep" if lib else "alone"
    process = subprocess.Popen(
        [program, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        sys.exit(f"bench: {program.name} {' '.join(arguments)} {side} took longer than {LIMIT_SECONDS} s")
    for left in pathlib.Path("/dev/shm").glob(f"sslsweep.{process.pid}.*"):
        left.unlink()  # bench ends by _exit, which leaves its figures
    done = subprocess.CompletedProcess(process.args, process.returncode, output, errors)
    if done.returncode != 0 or "cannot be preloaded" in done.stderr:
        sys.exit(
            f"bench: {program.name} {' '.join(arguments)} {side} failed ({done.returncode}): {done.stderr.strip()}"
        )
    return done


class Progress:
    """One line on a terminal, else a line each minute."""

    def __init__(self, total: float) -> None:
        self.total, self.done, self.began, self.said = total, 0.0, time.monotonic(), time.monotonic()
        self.terminal = sys.stderr.isatty()

    def show(self, words: str) -> None:
        now = time.monotonic()
        if not self.terminal and now - self.said < 60:
            return
        self.said = now
        share = self.done / self.total
        left = (now - self.began) / share * (1 - share) / 60 if share > 0.02 else None
        text = f"{share:4.0%}  {words}{f', about {left:.0f} min left' if left is not None else ''}"
        print(
            f"\r{text[:110]}\033[K" if self.terminal else text,
            end="" if self.terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def clear(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def take_turns(measure, size, settings, found, lib, results, progress) -> None:
    rounds = settings.rounds_at(size)
    for turn in range(rounds):
        # Who begins changes: the first of a round may find the machine in another state than the last.
        for library in found[turn % len(found) :] + found[: turn % len(found)]:
            sides = settings.sides_of(library, measure, size)
            for side in sides if turn % 2 == 0 else reversed(sides):
                progress.show(
                    f"{size:,} sessions, {measure.name}, round {turn + 1} of {rounds}, {library.name} {side}"
                )
                preloaded, options = settings.side(side, lib)
                done = run(library.program, preloaded, measure.name, str(size), **options)
                progress.done += catalogue.cost(measure, size)
                for line in done.stdout.splitlines():
                    figure, value, rest = line.split(maxsplit=2)
                    if value == "-":
                        results.leave_out(library.name, measure.name, figure, rest)
                    else:
                        results.add(size, measure.name, figure, library.name, side, float(value))


def heading(results: Results, size: int) -> str:
    cells = "".join(f"{name[:8]:>9}" for name in results.stocks)
    return f"\n{f'{size:,} sessions':<56}{cells}{'stock':>9}" + "".join(
        f"{name:>10}" for name in results.peers
    )


def row(results: Results, measure: catalogue.Measure, figure: str, size: int) -> str:
    def cell(name: str) -> str:
        mark = "!" if results.verdict(size, measure.name, figure, name) == "worse" else " "
        return f"{times(results.ratio(size, measure.name, figure, name)):>8}{mark}"

    best = results.best_stock(size, measure.name, figure)
    if best is None and not any(
        results.values(size, measure.name, figure, name, "sslsweep") for name in results.stocks
    ):
        return ""
    stock = results.median(size, measure.name, figure, best, "stock") if best else None
    cells = "".join(cell(name) for name in results.stocks)
    peers = "".join(
        f"{short(results.median(size, measure.name, figure, name, 'stock')):>10}" for name in results.peers
    )
    return f"{f'{measure.figures[figure]} [{measure.unit}]':<56}{cells}{short(stock):>9}{peers}"


def floor_rows(results: Results, size: int) -> list[str]:
    rows = []
    for name in ("flush_half", "flush_half_shuffled", "flush_all", "flush_all_shuffled"):
        words = f"{catalogue.BY_NAME[name].figures['each']}, over floor"
        cells = ""
        for library in results.stocks:
            floor, ours = (
                results.floor(size, name, library),
                results.median(size, name, "each", library, "sslsweep"),
            )
            cells += f"{times(ours / floor if ours and floor else None):>8} "
        if cells.strip(" -"):
            rows.append(f"{words:<56}{cells}")
    return rows


def machine() -> dict:
    def first(path: str, key: str) -> str:
        try:
            with open(path, encoding="utf-8") as lines:
                return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
        except OSError:
            return ""

    compiler = subprocess.run(
        [*libraries.compiler(), "--version"], capture_output=True, text=True, check=False
    )
    kilobytes = int((first("/proc/meminfo", "MemTotal") or "0 kB").split()[0])
    return {
        "processor": first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory": f"{kilobytes / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "compiler": (compiler.stdout.splitlines() or [""])[0],
        "load at the start": round(os.getloadavg()[0], 2),
    }


def prove(found: list[libraries.Library], lib: str) -> None:
    """That sslsweep takes part: else its figures would be stock's."""
    for library in found:
        if (
            not library.peer
            and "took over"
            not in run(library.program, lib, "flush_half", "1000", SSLSWEEP_VERBOSE="1").stderr
        ):
            sys.exit(f"bench: sslsweep does not take over the cache of {library.name}: {library.version}")


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib = str(pathlib.Path(sys.argv[1]).resolve())
    settings = Settings()
    folder = HERE.parent / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    found = libraries.prepare(settings.libssl, folder, libraries.SOURCES)
    prove(found, lib)

    results = Results(
        {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "commit": commit(),
            "machine": machine(),
            "command": " ".join(
                [
                    *(
                        f'{name}="{os.environ[name]}"'
                        for name in ("SIZES", "ROUNDS", "ONLY", "LIBSSL", "BENCH", "STATS")
                        if os.environ.get(name)
                    ),
                    "make bench",
                ]
            ),
            "rounds": settings.rounds,
            "rounds_of_a_million": settings.rounds_at(1_000_000),
            "libraries": {
                library.name: {"version": library.version, "peer": library.peer} for library in found
            },
        }
    )
    total = sum(
        catalogue.cost(measure, size) * settings.rounds_at(size) * len(settings.sides_of(library, measure, size))
        for size in settings.sizes
        for measure in settings.measures_at(size)
        for library in found
    )
    if total == 0:
        sys.exit(
            f"bench: nothing to measure; ONLY may begin: {' '.join(measure.name for measure in catalogue.MEASURES)}"
        )
    for library in found:
        print(f"{library.name}: {library.version}{' (peer)' if library.peer else ''}")
    print(f"About {total / 60:.0f} min on a machine with nothing else to do", flush=True)
    print((LEGEND_STATISTICS if settings.statistics else LEGEND).format(rounds=settings.rounds))
    report = folder / ("statistics.json" if settings.statistics else "results.json")
    progress = Progress(total)
    for size in settings.sizes:
        print(heading(results, size))
        for measure in settings.measures_at(size):
            take_turns(measure, size, settings, found, lib, results, progress)
            results.save(report)  # so that a run that is broken off leaves what it has
            progress.clear()
            if not measure.stock_only:
                rows = (row(results, measure, figure, size) for figure in measure.figures)
                print("\n".join(line for line in rows if line), flush=True)
        print("\n".join(floor_rows(results, size)), flush=True)
    print("\n".join(results.reasons()))
    if settings.statistics:
        print(f"Written: {report.relative_to(HERE.parent)}")
        return
    print(f"\nTargets: of each size the worst libssl\n{targets.as_text(results)}")
    print(f"Written: {report.relative_to(HERE.parent)}. make bench-report puts it into docs/benchmarks.md")


if __name__ == "__main__":
    main()
