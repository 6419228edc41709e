#!/usr/bin/env python3
"""libssl.py VERSION LINKAGE [SANITIZER]: builds a released libssl, and prints the folder with its include/ and lib/.
libssl.py PEER: the same for another project's libssl, which the benchmarks compare with.
libssl.py list, libssl.py peers: prints the names of releases, and of peers.

  VERSION   a release of the table below, or its beginning (3.5)
  LINKAGE   symbolic   as upstream links it: libssl's calls to its own functions stay inside (-Bsymbolic)
            plt        as Debian and Ubuntu do: they go through the PLT, where a preloaded library sees them
  SANITIZER what the compiler's -fsanitize instruments it with (thread, address); what links with it needs the same

The sources are those that a crate carries, since cargo fetches and verifies them and has to be there anyway. The two
linkages are two last links of the same objects. Kept in ${XDG_CACHE_HOME:-~/.cache}/sslsweep/libssl, a folder for
each release, recipe and compiler, so that checkouts of different age do not remove each other's; it may be deleted
at any time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Iterator, NoReturn

# release: version and checksum of the crate openssl-src, pruned (without what only tests, programs and modules use)
RELEASES = {
    "1.1.1w": ("111.28.2+1.1.1w", "bb1830e20a48a975ca898ca8c1d036a36c3c6c5cb7dabc1c216706587857920f", False),
    "3.0.8": ("300.0.13+3.0.8", "f00789a63ec8951fcda9adb0f2258582afdcfe1b2435e332d3a859896f814f0a", False),
    "3.4.1": ("300.4.2+3.4.1", "168ce4e058f975fe43e89d9ccf78ca668601887ae736090aacc23ae353c298e2", False),
    "3.5.5": ("300.5.5+3.5.5", "3f1787d533e03597a7934fd0a765f0d28e94ecc5fb7789f8053b1e699a56f709", True),
    "4.0.3": ("400.0.2+4.0.3", "d2093956673b8dbda85c87fa4fb78e70698ce6c5978a2837d1613f661d3bef76", True),
}
SPARE = "3.4.1"  # the release whose util/mkdef.pl replaces the one that pruning took away
# peer: crate, its version and checksum, where in it the sources are
PEERS = {
    "boringssl":
        ("boring-sys", "5.4.0", "4986392770df40d11d0d6294b0dd8399570f4a6e76d6953c7a34f7dd1defbd76", "deps/boringssl"),
    "aws-lc": ("aws-lc-sys", "0.47.0", "8bfbe32ac36b3c428696ce315464181bc4029d689fd58e3f2a4e58c252242f52", "aws-lc"),
}
LINKAGES = ("symbolic", "plt")
TARGETS = {"x86_64": "linux-x86_64", "aarch64": "linux-aarch64"}
HOOKS = {"thread": "__tsan_read8", "address": "__asan_report_load8"}
JOBS = f"-j{min(2, os.cpu_count() or 1)}"
PROGRAM = """
#include <openssl/ssl.h>
#include <stdio.h>
int main(void) { return !SSL_CTX_new(TLS_server_method()) || puts(OpenSSL_version(OPENSSL_VERSION)) < 0; }
"""


@dataclass
class Libssl:
    """A libssl that tests run on: the installed one, or one that was built here."""

    version: str  # "system", or a release
    linkage: str  # "installed", or as above
    prefix: pathlib.Path | None = None
    make: list[str] = field(default_factory=list)  # variables for tests-c/Makefile


def find(words: list[str], linkages: tuple[str, ...] = LINKAGES, sanitizer: str = "") -> list[Libssl]:
    """All that the words name: `system`, and releases in these linkages. What is missing is built first."""
    found = []
    for word in words:
        if word == "system":
            found.append(Libssl(word, "installed"))
            continue
        for linkage in linkages:
            prefix = build(word, linkage, sanitizer)
            make = [f"{name}={value}" for name, value in variables(prefix).items()]
            found.append(Libssl(release(word), linkage, prefix, make))
    return found


def variables(prefix: pathlib.Path) -> dict[str, str]:
    """How programs are built with it, and find it."""
    flags, libs = f"-I{prefix}/include", f"-L{prefix}/lib -lssl -lcrypto"
    return {"OPENSSL_CFLAGS": flags, "OPENSSL_LIBS": libs, "LD_LIBRARY_PATH": f"{prefix}/lib"}


def output(*command: object, **env: str) -> str:
    env = os.environ | {"LC_ALL": "C"} | env
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env).stdout


def complain(text: str) -> NoReturn:
    sys.exit(f"libssl.py: {text}")


def progress(text: str) -> None:
    print(f"libssl.py: {text}", file=sys.stderr, flush=True)


def release(word: str) -> str:
    """The release that this word is the beginning of."""
    for name in RELEASES:
        if name.startswith(word) and not name[len(word):][:1].isdigit():
            return name
    complain(f"no release {word} here; there are: {' '.join(RELEASES)}")


def need(*tools: str) -> None:
    for tool in tools:
        if not shutil.which(tool):
            complain(f"needs {tool}; tools/setup.sh matrix (for peers: bench) installs or names what is missing")


class Build:
    """One build: a scratch folder, and a log whose end is shown when something fails."""

    def __init__(self, home: pathlib.Path, name: str) -> None:
        self.work, self.path = home / "work", home / f"{name}.log"
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        self.log = self.path.open("w")

    def fail(self, text: str) -> NoReturn:
        print(*self.path.read_text(errors="replace").splitlines()[-20:], sep="\n", file=sys.stderr)
        complain(f"{text} (all of it in {self.path})")

    def step(self, *command: object, cwd: pathlib.Path | None = None, text: str | None = None) -> None:
        done = subprocess.run(command, cwd=cwd, input=text, text=True, stdout=self.log, stderr=self.log, check=False)
        if done.returncode != 0:
            self.fail(f"failed: {' '.join(map(str, command))}")

    def fetch(self, crate: str, version: str, checksum: str, inside: str) -> pathlib.Path:
        """The sources in this crate."""
        folder = self.work / f"{crate}-{version}"
        (folder / "src").mkdir(parents=True)
        (folder / "src/lib.rs").touch()
        (folder / "Cargo.toml").write_text(
            f'[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n{crate} = "={version}"\n')
        self.step("cargo", "fetch", cwd=folder)
        # Not `cargo vendor`: that of Rust 1.85 leaves out some files, such as openssl/fuzz/build.info.
        home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo")
        archives = list(home.glob(f"registry/cache/*/{crate}-{version}.crate"))
        found = [archive for archive in archives if hashlib.sha256(archive.read_bytes()).hexdigest() == checksum]
        if not found:
            complain(f"{crate} {version} is not the one known here ({len(archives)} fetched, of another checksum)")
        self.step("tar", "-xf", found[0], "-C", folder)
        sources = folder / f"{crate}-{version}"
        return sources / inside


@contextlib.contextmanager
def only_one(name: str, compiler: str, recipe: str) -> Iterator[tuple[pathlib.Path, Build | None]]:
    """Where a build of this name is to be, and, unless it is there already, the means to make it. One at a time."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    home = pathlib.Path(cache, "sslsweep", "libssl")
    home.mkdir(parents=True, exist_ok=True)
    stamp = hashlib.sha256((recipe + output(compiler, "--version") + platform.machine()).encode())
    prefix = home / f"{name}-{stamp.hexdigest()[:12]}"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if prefix.is_dir():  # it came by one rename
            yield prefix, None
            return
        build = Build(home, name)
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            yield prefix, build
        finally:
            signal.signal(signal.SIGTERM, before)
            shutil.rmtree(build.work, ignore_errors=True)


def build(word: str, linkage: str, sanitizer: str = "") -> pathlib.Path:
    """The folder of a release, which is built if need be."""
    if linkage not in LINKAGES or sanitizer and sanitizer not in HOOKS:
        complain(f"no such way to build: {linkage} {sanitizer}; there are {', '.join(LINKAGES)}; {', '.join(HOOKS)}")
    if platform.machine() not in TARGETS:
        complain(f"knows how to build on {' and '.join(TARGETS)}, and this is {platform.machine()}")
    need("cc", "make", "perl", "readelf", "cargo")
    version = release(word)
    recipe = inspect.getsource(make_release) + str(RELEASES[version])
    with only_one(version + (f"-{sanitizer}" if sanitizer else ""), "cc", recipe) as (prefix, made):
        if made:
            make_release(made, prefix, version, sanitizer)
    return prefix / linkage


def make_release(made: Build, prefix: pathlib.Path, version: str, sanitizer: str) -> None:
    if subprocess.run(["perl", "-MIPC::Cmd", "-MFindBin", "-e", "1"], capture_output=True, check=False).returncode != 0:
        complain("needs perl with its core modules, of which Debian's perl-base is a part only")
    progress(f"building {version}{f' for the {sanitizer} sanitizer' if sanitizer else ''} (some minutes)")
    cflags = "-O2"
    if sanitizer:
        cflags += f" -g -fno-omit-frame-pointer -fsanitize={sanitizer}"
    if sanitizer == "thread":
        # libssl then counts references without fences, which that sanitizer does not understand; it asks clang's
        # way, so gcc has to be told.
        cflags += " -DOSSL_TSAN_BUILD"
    crate, checksum, pruned = RELEASES[version]
    tree = made.fetch("openssl-src", crate, checksum, "openssl")
    options = []
    if pruned:
        options = ["no-module", "no-apps", "no-docs", "no-tests"]
        spare = made.fetch("openssl-src", *RELEASES[SPARE][:2], "openssl")
        shutil.copy(spare / "util/mkdef.pl", tree / "util/")
    made.step("perl", "Configure", TARGETS[platform.machine()], "shared", *options, f"CFLAGS={cflags}",
              f"--prefix={prefix}", "--libdir=lib", f"--openssldir={prefix}/ssl", cwd=tree)
    made.step("make", JOBS, "build_libs", cwd=tree)
    made.step("make", "install_dev", f"DESTDIR={made.work}/root", cwd=tree)

    built = pathlib.Path(f"{made.work}/root{prefix}")
    shutil.rmtree(built / "lib/pkgconfig")  # names a folder that does not exist
    for linkage in LINKAGES:
        shutil.copytree(built / "lib", built / linkage / "lib", symlinks=True)
        (built / linkage / "include").symlink_to("../include")
    shutil.rmtree(built / "lib")
    # The second linkage: the same link without one option. make finds nothing else to do.
    link = re.search(r"^LIB_LDFLAGS=(.*-Wl,-Bsymbolic.*)$", (tree / "Makefile").read_text(), re.M)
    if not link:
        complain("this release is not linked with -Bsymbolic")
    shared = ("libcrypto.so*", "libssl.so*")
    for path in [path for pattern in shared for folder in (tree, built / "plt/lib") for path in folder.glob(pattern)]:
        path.unlink()
    made.step("make", f"LIB_LDFLAGS={link[1].replace('-Wl,-Bsymbolic', '', 1)}", "build_libs", cwd=tree)
    for path in [path for pattern in shared for path in tree.glob(pattern)]:
        shutil.copy2(path, built / "plt/lib", follow_symlinks=False)
    for linkage in LINKAGES:
        check(made, built, linkage, version, sanitizer, cflags)
    built.rename(prefix)


def check(made: Build, built: pathlib.Path, linkage: str, version: str, sanitizer: str, cflags: str) -> None:
    """Is it what was asked for?"""
    lib = built / linkage / "lib"
    for library in (lib / "libcrypto.so", lib / "libssl.so"):
        dynamic = output("readelf", "-Wd", library)
        if re.search("RPATH|RUNPATH", dynamic):
            complain(f"{linkage} {library.name} has a search path of its own")
        if ("SYMBOLIC" in dynamic) != (linkage == "symbolic"):
            complain(f"{library.name} was to be linked {linkage} and is not")
    own_calls = len(re.findall(r"JUMP_SL\w*\s+\w+\s+SSL_", output("readelf", "-Wr", lib / "libssl.so")))
    if (own_calls == 0) != (linkage == "symbolic"):
        complain(f"{linkage} libssl.so calls {own_calls} of its own functions through the PLT")
    program = made.work / "version"
    made.step("cc", *cflags.split(), f"-I{built}/include", "-x", "c", "-o", program, "-", "-x", "none", f"-L{lib}",
              "-lssl", "-lcrypto", text=PROGRAM)
    said = output(program, LD_LIBRARY_PATH=str(lib))
    if not said.startswith(f"OpenSSL {version} "):
        complain(f"{linkage} libssl.so was built for {version}; it says: {said}")
    if sanitizer and f" UND {HOOKS[sanitizer]}" not in output("readelf", "-W", "--dyn-syms", lib / "libssl.so"):
        complain(f"{linkage} libssl.so is not instrumented")


def build_peer(name: str) -> pathlib.Path:
    """The folder of another project's libssl, which is built if need be."""
    need("cc", "c++", "cmake", "make", "cargo")
    with only_one(name, "c++", inspect.getsource(build_peer) + str(PEERS[name])) as (prefix, made):
        if made:
            progress(f"building {name} (a minute or two)")
            sources = made.fetch(*PEERS[name])
            # The last three are AWS-LC's: no program, and the generated sources that it carries.
            options = "BUILD_SHARED_LIBS=ON BUILD_TESTING=OFF BUILD_TOOL=OFF DISABLE_GO=ON DISABLE_PERL=ON"
            made.step("cmake", "-S", sources, "-B", made.work / "build", "-DCMAKE_BUILD_TYPE=Release",
                      *(f"-D{option}" for option in options.split()))
            made.step("make", "-C", made.work / "build", JOBS, "ssl")
            root = made.work / "root"
            shutil.copytree(sources / "include", root / "include")
            (root / "lib").mkdir()
            for path in (made.work / "build").rglob("lib*.so*"):
                shutil.copy2(path, root / "lib", follow_symlinks=False)
            for library in ("libcrypto.so", "libssl.so"):
                if not (root / "lib" / library).exists():
                    complain(f"the build of {name} made no {library}")
            root.rename(prefix)
    return prefix


def main() -> None:
    words = sys.argv[1:]
    if words == ["list"]:
        print(*RELEASES, sep="\n")
    elif words == ["peers"]:
        print(*PEERS, sep="\n")
    elif len(words) == 1 and words[0] in PEERS:
        print(build_peer(words[0]))
    elif len(words) in (2, 3):
        print(build(*words))
    else:
        sys.exit(__doc__.partition("\n\n")[0])


if __name__ == "__main__":
    main()
