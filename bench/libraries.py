"""The libssl that are measured: where they come from, and the benchmark program compiled against each."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
SYSTEM = "system"


@dataclass(frozen=True)
class Library:
    name: str  # "system", "3.5.5", "boringssl"
    version: str  # what it says of itself
    peer: bool  # another project's libssl, of which sslsweep stands aside
    ordered: bool  # keeps its sessions in a list in the order of expiry
    program: pathlib.Path


def known(script: pathlib.Path) -> list[str]:
    return subprocess.run(["sh", script, "list"], check=True, capture_output=True, text=True).stdout.split()


def prepare(words: list[str], folder: pathlib.Path, sources: list[pathlib.Path]) -> list[Library]:
    """Builds what `words` name, and a program of `sources` for each; "all" is every libssl and both peers."""
    script, peers = HERE.parent / "tools" / "libssl.sh", known(HERE / "peer.sh")
    if "all" in words:
        words = [SYSTEM, *known(script), *peers]
    found = []
    for word in words:
        if word == SYSTEM:
            command = None
        elif word in peers:
            command = ["sh", HERE / "peer.sh", word]
        else:
            command = ["sh", script, word, "symbolic"]
        found.append(build(word, command, word in peers, folder, sources))
    return found


def build(
    word: str, command: list | None, peer: bool, folder: pathlib.Path, sources: list[pathlib.Path]
) -> Library:
    flags, name = [], word
    if command:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"bench: {word} could not be built")
        prefix = pathlib.Path(done.stdout.strip())
        if not peer:
            name = prefix.parent.name.partition("-")[0]
        # A copy, so that it stays the same if another one builds it anew in the middle of a long run.
        copy = folder / f"lib-{name}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(prefix / "lib", copy, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
        # RPATH, not RUNPATH: it holds for what libssl itself needs, too.
        flags = [f"-I{prefix}/include", f"-L{copy}", f"-Wl,--disable-new-dtags,-rpath,{copy}"]
    program = folder / f"program-{name}"
    done = subprocess.run(
        [
            *compiler(),
            "-std=c11",
            "-D_GNU_SOURCE",
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-deprecated-declarations",
            "-pthread",
            *flags,
            "-o",
            program,
            *sources,
            "-lssl",
            "-lcrypto",
            "-ldl",
        ],
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"bench: the program could not be compiled against {name}")
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    version = done.stdout.strip()
    if command and not peer and not version.startswith(f"OpenSSL {name} "):
        sys.exit(f"bench: the program for {name} runs on {version or done.stderr.strip()}")
    return Library(
        name, version, peer, ordered=not peer and not version.startswith("OpenSSL 1."), program=program
    )


def compiler() -> list[str]:
    return os.environ.get("CC", "cc").split()
