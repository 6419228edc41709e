#!/usr/bin/env python3
"""summary.py FOLDER [details]: compares what the demo's programs reported in FOLDER on libssl alone ("stock") and with
sslsweep. Prints the gain, or each step before it. Exits 1, and prints each step, if a count differs. A time that is not
as it should be is only said: the machine may be busy."""

from __future__ import annotations

import pathlib
import re
import sys

SIDES = ("stock", "sslsweep")
WORD = {"stock": "on libssl alone", "sslsweep": "with sslsweep"}
COUNTS = ("stored", "resumed", "refused", "removed", "callbacks")
STEPS = {
    "store": "16 clients connect, half by TLS 1.2, half by TLS 1.3; the server stores\n"
        "sessions that last 60, 300, 3600 and 86400 seconds.",
    "resume": "All of them come back and resume. (TLS 1.3 stores a new ticket each time.)",
    "flush_early": "Flush at the present time: nothing has expired, nothing goes.",
    "flush_100s": "Flush as if 100 seconds had passed: those of 60 seconds go, and the remove\n"
        "callback hears of each.",
    "resume_again": "The clients offer their sessions again: flushed ones are refused and get a\n"
        "full handshake and a new session.",
    "expired": "Sessions that are two hours old and last one are refused. libssl drops those\n"
        "of TLS 1.2 when they are offered, the others stay until a flush.",
    "flush_all": "Flush with time 0: every session goes.",
    "resume_none": "Nobody can resume any more.",
    "crowd": "200,000 sessions; half of them are flushed while a client goes on resuming.\n"
        "The longest wait is its slowest handshake meanwhile.",
    "crowd_idle": "Flush of the other half, of which nothing has expired (the best of 20).",
    "crowd_callback": "40,000 sessions; half are flushed, with a remove callback of 20 microseconds.",
    "mixed": "20,000 sessions are stored, each with a timeout of its own.",
    "mixed_half": "Half of them are flushed; the remove callback hears of each.",
    "end": "The context is freed: the remaining sessions go, with their callbacks.",
}
CONNECTIONS = {
    f"tls1{minor}_{when}": (session, f"TLS 1.{minor}: {text}")
    for minor in (2, 3)
    for when, session, text in (("first", "New", "first connection"), ("soon", "Reused", "the same client at once"),
                                ("late", "New", "the same client after the timeout"))
}
WORKERS = {f"tls1{minor}_workers": f"TLS 1.{minor}" for minor in (2, 3)}
MACHINES = {f"tls1{minor}_machines": f"TLS 1.{minor}" for minor in (2, 3)}
# A worker does not know how its own server names turn out before it has met each: one full handshake for each of four workers,
# and again after the reload.
MEETINGS = 2 * 4
# The least gain that a machine with nothing else to do shows, stock over sslsweep. Storing is slower than on a libssl that
# keeps no order (1.1.1), two to four times, not ten.
LEAST = {
    "crowd": ("wait_us", 1.2, "the longest wait among 200,000"),
    "crowd_callback": ("wait_us", 2, "the longest wait among 40,000"),
    "mixed": ("took_us", 0.1, "storing"),
}
TRY_NEXT = """\
Try next, from this folder (make demo DETAILS=1 shows every count):
  build/bin/sslsweep doctor build/demo/server                would it work?
  build/bin/sslsweep run --stats -- build/demo/server 60 &   run it for a minute
  build/bin/sslsweep top                                     watch its cache
"""

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__))
failures: list[str] = []
notes: list[str] = []


def read(name: str) -> str:
    path = folder / name
    return path.read_text(errors="replace") if path.exists() else ""


class Report:
    """Lines of key=value pairs: those of a step by its name, the others by their key."""

    def __init__(self, name: str) -> None:
        self.said, self.steps = {"status": "unknown"}, {}
        for line in read(name).splitlines():
            pairs = dict(re.findall(r"(\w+)=(\S+)", line))
            if line.startswith("step="):
                self.steps[pairs["step"]] = pairs
            elif found := re.match(r"(\w+)=(.*)", line):
                self.said[found[1]] = found[2]


server = {side: Report(f"{side}.txt") for side in SIDES}
nginx = {side: Report(f"nginx-{side}.txt") for side in SIDES}
workers = {side: Report(f"workers-{side}.txt") for side in SIDES}
machines = {side: Report(f"machines-{side}.txt") for side in SIDES}


def values(step: str, key: str) -> list[str | None]:
    return [server[side].steps.get(step, {}).get(key) for side in SIDES]


def gain(step: str, key: str) -> float | None:
    """Stock over sslsweep; nothing if a side did not say, or saw nothing at all."""
    stock, ours = (float(value or 0) for value in values(step, key))
    return stock / ours if stock and ours else None


def has_run(program: str, err: str, side: str, run: Report, names: dict) -> bool:
    if run.said["status"] != "0":
        said = read(err).rstrip("\n") or "nothing"
        failures.append(f"{program} {WORD[side]} ended with status {run.said['status']}; it said:\n{said}\n")
        return False
    missing = [name for name in names if name not in run.steps]
    if missing:
        failures.append(f"{program} {WORD[side]} did not report: {' '.join(missing)}")
    if side == "sslsweep" and not re.search(r"^sslsweep\[\d+\]: took over", read(err), re.M):
        failures.append(f"{program} ran without sslsweep: its standard error ({folder}/{err}) does not say that"
                        " a cache was taken over")
    return not missing


def check_server() -> int:
    """The number of steps that are equal."""
    if not all([has_run("the server", f"{side}.err", side, server[side], STEPS) for side in SIDES]):
        return 0
    if server["sslsweep"].said.get("function") != "SSL_CTX_flush_sessions_ex":
        failures.append("SSL_CTX_flush_sessions_ex was not found with sslsweep")
    equal = 0
    for step in STEPS:
        pairs = {count: [value or "nothing" for value in values(step, count)] for count in COUNTS}
        differ = {count: pair for count, pair in pairs.items() if pair[0] != pair[1] or pair[0] == "nothing"}
        if differ:
            said = ", ".join(f"{count} (stock {stock}, sslsweep {ours})" for count, (stock, ours) in differ.items())
            failures.append(f"step {step} is not equal: {said}")
        else:
            equal += 1
        if step in LEAST:
            key, least, of = LEAST[step]
            found = gain(step, key)
            if found is None:
                failures.append(f"step {step}: a side did not say how long {of} took")
            elif found < least:
                notes.append(f"{of[0].upper()}{of[1:]}: libssl alone takes {found:.2f} times as long.")
    return equal


def check_nginx() -> int:
    """The number of connections that are right."""
    if not all([has_run("nginx", f"nginx-{side}.err", side, nginx[side], CONNECTIONS) for side in SIDES]):
        return 0
    right = 0
    for name, (wanted, text) in CONNECTIONS.items():
        stock, ours = (nginx[side].steps[name].get("session", "nothing") for side in SIDES)
        if stock == ours == wanted:
            right += 1
        else:
            failures.append(f"nginx, {text}: {stock} on libssl alone, {ours} with sslsweep; both must be {wanted}")
    return right


def check_workers() -> None:
    if not all([has_run("nginx with four workers", f"workers-{side}.err", side, workers[side], WORKERS) for side in SIDES]):
        return
    for name, text in WORKERS.items():
        stock, ours = (int(workers[side].steps[name].get("resumed", -1)) for side in SIDES)
        most = int(workers["sslsweep"].steps[name].get("connections", 0))
        if not most - MEETINGS <= ours < most or stock < 0:
            failures.append(f"nginx with four workers, {text}: resumed {stock} on libssl alone, {ours} with sslsweep;"
                            f" of {most} connections, {most - MEETINGS} at least must be resumed with sslsweep")


def check_machines() -> None:
    if not all([has_run("nginx on two machines", f"machines-{side}.err", side, machines[side], MACHINES) for side in SIDES]):
        return
    for name, text in MACHINES.items():
        stock, ours = (int(machines[side].steps[name].get("resumed", -1)) for side in SIDES)
        most = int(machines["sslsweep"].steps[name].get("connections", 0))
        if not 0 < most == ours or stock != 0:
            failures.append(f"nginx on two machines, {text}: resumed {stock} on libssl alone, {ours} with sslsweep;"
                            f" of {most} sessions, none must be resumed on the other machine alone, and all with sslsweep")


def duration(value: str | None) -> str:
    if value is None:
        return "-"
    us = float(value)
    return f"{us:.1f} us" if us < 100 else f"{us / 1000:.2f} ms" if us < 10_000 else f"{us / 1000:.0f} ms"


def print_steps() -> None:
    stock, ours = (server[side].said for side in SIDES)
    print(f"libssl:                       {stock.get('library', 'unknown')}")
    print(f"flush function of stock:      {stock.get('function', 'unknown')}")
    print(f"flush function with sslsweep: {ours.get('function', 'unknown')}\n")
    line = "{:>12}{:>8}{:>8}{:>8}{:>8}{:>10}{:>10}{:>13}".format
    print(line("", *COUNTS, "took", "longest wait"))
    for number, (step, text) in enumerate(STEPS.items(), 1):
        print(f"{number:2} " + text.replace("\n", "\n   "))
        for side in SIDES:
            said = server[side].steps.get(step, {})
            times = [duration(said.get(key)) for key in ("took_us", "wait_us")]
            print(line(f"   {side:<9}", *(said.get(count, "-") for count in COUNTS), *times))
    print("\n{:<49}{:>12}{:>12}".format("nginx, ssl_session_cache builtin:1000", *SIDES))
    for name, (_, text) in CONNECTIONS.items():
        sessions = [nginx[side].steps.get(name, {}).get("session", "-") for side in SIDES]
        print("   {:<46}{:>12}{:>12}".format(text, *sessions))
    print("By TLS 1.3 the client knows the timeout, and offers no expired session.")
    for name, text in WORKERS.items():
        resumed = [workers[side].steps.get(name, {}).get("resumed", "-") for side in SIDES]
        print("   {:<46}{:>12}{:>12}".format(f"four workers, {text}: resumed", *resumed))
    for name, text in MACHINES.items() if machines["stock"].steps else ():
        said = [machines[side].steps.get(name, {}) for side in SIDES]
        print("   {:<46}{:>12}{:>12}".format(f"on the other machine, {text}: resumed", *(it.get("resumed", "-") for it in said)))
        print("   {:<46}{:>12}{:>12}".format("   at the first try", *(it.get("at_once", "-") for it in said)))
    logs = (("the server", "sslsweep.err"), ("nginx", "nginx-sslsweep.err"), ("four workers", "workers-sslsweep.err"),
            ("two machines", "machines-sslsweep.err"))
    for program, err in logs:
        print(f"\nStandard error of {program} with sslsweep (SSLSWEEP_VERBOSE=1):\n{read(err)}", end="")
    print()


def compared(ratio: float | None, better: str, worse: str) -> str:
    if ratio is None:
        return ""
    if 1 / 1.1 < ratio < 1.1:
        return "about equal"
    times, how = (ratio, better) if ratio > 1 else (1 / ratio, worse)
    return f"{times:.1f}x {how}" if times < 10 else f"{times:.0f}x {how}"


def print_row(text: str, step: str, key: str, better: str, worse: str) -> None:
    ratio, shown = gain(step, key), values(step, key)
    if key == "handshakes":
        ratio = 1 / ratio if ratio else None
    else:
        shown = [duration(value) for value in shown]
    print("{:<43}{:>10}{:>11}  {}".format(text, *shown, compared(ratio, better, worse)))


def print_summary(equal: int, right: int | None) -> None:
    version = " ".join(server["stock"].said["library"].split()[:2])
    print("{:<43}{:>10}{:>11}".format(f"One TLS server, unchanged, on {version}", "alone", "sslsweep"))
    print("Longest handshake while half is flushed, of  (shortest of three runs, each side)")
    print_row("  200,000 sessions", "crowd", "wait_us", "shorter", "longer")
    print_row("  40,000, with a slow remove callback", "crowd_callback", "wait_us", "shorter", "longer")
    print_row("    handshakes finished meanwhile", "crowd_callback", "handshakes", "more", "fewer")
    print_row("Storing 20,000 sessions, mixed timeouts", "mixed", "took_us", "faster", "slower")
    print("The same flushes, from beginning to end")
    print_row("  200,000 sessions", "crowd", "took_us", "shorter", "longer")
    print_row("  40,000, with a slow remove callback", "crowd_callback", "took_us", "shorter", "longer")
    print("A flush can take longer, as it lets handshakes through: no client waits for it.")
    if (gain("mixed", "took_us") or 1) < 1 / 1.1:
        stock, ours = (duration(value) for value in values("crowd_idle", "took_us"))
        print(f"Stores are slower; a flush that finds nothing expired takes {ours}, not {stock}.")
    if right is not None:
        print("nginx, 4 workers, reloaded once: resumed (sslsweep: with SSLSWEEP_SHARE=family)")
        for name, text in WORKERS.items():
            resumed = [workers[side].steps[name]["resumed"] for side in SIDES]
            of = workers["sslsweep"].steps[name]["connections"]
            print("{:<43}{:>10}{:>11}".format(f"  of {of} connections by {text}", *resumed))
    if machines["stock"].steps:
        resumed, of = ([sum(int(machines[side].steps[name][key]) for name in MACHINES) for side in SIDES]
                       for key in ("resumed", "connections"))
        print("{:<43}{:>10}{:>11}  resumed there".format(f"nginx on a second machine (agents), of {of[1]}", *resumed))
    tried = "nginx is not here, so not tried"
    if right is not None:
        tried = f"{nginx['stock'].said['version']}: {right} of {len(CONNECTIONS)} connections right"
    if notes:
        print(*notes, "That is less than usual. Is the machine busy? Try again.", sep="\n")
    print(f"Same behaviour: {equal} of {len(STEPS)} steps equal; {tried}.")
    print(TRY_NEXT, end="")


equal = check_server()
right = None
if nginx["stock"].said["status"] != "77":
    right = check_nginx()
    check_workers()
if machines["stock"].said["status"] != "77":
    check_machines()
if len(sys.argv) > 2 or failures:
    print_steps()
if not failures:
    print_summary(equal, right)
for failure in failures:
    print(f"FAIL: {failure}")
sys.exit(bool(failures))
