#!/usr/bin/env python3
"""run.py: builds sslsweep, runs the same unchanged programs on libssl alone and with the library preloaded, and prints
a summary; with DETAILS=1 each step. Exits non-zero if anything is not as it must be."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUILD = TOP / "build" / "demo"
LIBRARY = TOP / "build" / "lib" / "libsslsweep.so"


def say(text: str) -> None:
    print(text, end="", flush=True)


def build(log: pathlib.Path) -> bool:
    """The library, the command, the agent and the server; a dot every ten seconds."""
    make, cc, cflags = (os.environ.get(*words).split() for words in (("MAKE", "make"), ("CC", "cc"), ("CFLAGS", "")))
    options = ["-std=c11", "-D_DEFAULT_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"]
    files = ["-o", BUILD / "server", HERE / "server.c", HERE / "peer.c", "-lssl", "-lcrypto", "-ldl"]
    with log.open("w") as out:
        library = [*make, "--no-print-directory", "-C", TOP, "lib", "fleet"]
        server = [*cc, *options, *cflags, "-pthread", *files]
        for command in (library, server):
            with subprocess.Popen(command, stdout=out, stderr=out) as process:
                while True:
                    try:
                        process.wait(10)
                        break
                    except subprocess.TimeoutExpired:
                        say(".")
            if process.returncode != 0:
                return False
    return True


def report(name: str, *command: object, **env: str) -> None:
    """What a command says goes into build/demo; how it ended is the last line."""
    with (BUILD / f"{name}.txt").open("w") as out, (BUILD / f"{name}.err").open("w") as err:
        done = subprocess.run(command, stdout=out, stderr=err, env=os.environ | env, check=False)
        out.write(f"status={done.returncode}\n")


def main() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    for old in [*BUILD.glob("*.txt"), *BUILD.glob("*.err")]:
        old.unlink()
    print("This takes about 40 seconds; the first time, with the build, some 5 minutes.")
    say("building the library, the command and the agent ")
    log = BUILD / "build.log"
    if not build(log):
        print(f". failed\n{log.read_text(errors='replace')}FAIL: the build ended with an error, see above;",
              "it is kept in build/demo/build.log")
        sys.exit(1)
    say(". done\nrunning a TLS server on libssl alone, ")
    report("stock", BUILD / "server")
    say("then with sslsweep ... ")
    report("sslsweep", BUILD / "server", LD_PRELOAD=str(LIBRARY), SSLSWEEP_VERBOSE="1")
    say("done\nrunning nginx on libssl alone, ")
    report("nginx-stock", "sh", HERE / "nginx.sh")
    say("then with sslsweep ... ")
    report("nginx-sslsweep", "sh", HERE / "nginx.sh", LIBRARY)
    report("workers-stock", sys.executable, "-B", HERE / "workers.py")
    report("workers-sslsweep", sys.executable, "-B", HERE / "workers.py", LIBRARY)
    report("machines-stock", sys.executable, "-B", HERE / "machines.py")
    report("machines-sslsweep", sys.executable, "-B", HERE / "machines.py", LIBRARY, TOP / "build" / "bin" / "sslsweep")
    say("done\n\n")
    details = ["details"] if os.environ.get("DETAILS") else []
    sys.exit(subprocess.run([sys.executable, "-B", HERE / "summary.py", BUILD, *details], check=False).returncode)


if __name__ == "__main__":
    main()
