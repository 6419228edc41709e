"""The libssl that are measured: where they come from, and the benchmark program compiled against each."""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))

import libssl  # noqa: E402

SYSTEM = "system"
HERE = pathlib.Path(__file__).resolve().parent
SOURCES = sorted({*HERE.glob("*.c")} - {HERE / "sharing.c", HERE / "fleet.c"})  # programs of their own


@dataclass(frozen=True)
class Library:
    name: str  # "system", "3.5.5", "boringssl"
    version: str  # what it says of itself
    peer: bool  # another project's libssl, of which sslsweep stands aside
    ordered: bool  # keeps its sessions in a list in the order of expiry
    program: pathlib.Path


def prepare(words: list[str], folder: pathlib.Path, sources: list[pathlib.Path]) -> list[Library]:
    """Builds what `words` name, and a program of `sources` for each; "all" is every libssl and both peers."""
    if "all" in words:
        words = [SYSTEM, *libssl.RELEASES, *libssl.PEERS]
    return [build(word, folder, sources) for word in words]


def build(word: str, folder: pathlib.Path, sources: list[pathlib.Path]) -> Library:
    flags, peer = [], word in libssl.PEERS
    name = word if peer or word == SYSTEM else libssl.release(word)
    if word != SYSTEM:
        prefix = libssl.build_peer(word) if peer else libssl.build(word, "symbolic")
        # A copy, so that it stays the same if another one builds it anew in the middle of a long run.
        copy = folder / f"lib-{name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(prefix / "lib", copy, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
        # RPATH, not RUNPATH: it holds for what libssl itself needs, too.
        flags = [f"-I{prefix}/include", f"-L{copy}", f"-Wl,--disable-new-dtags,-rpath,{copy}"]
    program = folder / f"program-{name}"
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"]
    options = ["-std=c11", "-D_GNU_SOURCE", "-O2", *warnings, "-pthread", *flags]
    command = [*compiler(), *options, "-o", program, *sources, "-lssl", "-lcrypto", "-ldl"]
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: the program could not be compiled against {name}")
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    version = done.stdout.strip()
    if word != SYSTEM and not peer and not version.startswith(f"OpenSSL {name} "):
        sys.exit(f"bench: the program for {name} runs on {version or done.stderr.strip()}")
    return Library(
        name, version, peer, ordered=not peer and not version.startswith("OpenSSL 1."), program=program
    )


def build_own(program: pathlib.Path) -> None:
    """Builds a program that is not bench.c, on the system's libssl or that of OPENSSL_LIBS: `program` is built of the source file
    of its name."""
    sources = [HERE / f"{program.name}.c", HERE / "pool.c", HERE / "handshakes.c"]
    libssl = shlex.split(os.environ.get("OPENSSL_LIBS") or "-lssl -lcrypto")
    options = ["-O2", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-deprecated-declarations", "-pthread"]
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([*compiler(), *options, "-o", program, *sources, *libssl, "-ldl"], check=True)


def compiler() -> list[str]:
    return os.environ.get("CC", "cc").split()
