"""Neither a session's secret nor the key is to be had from the segment's file, from the figures or from messages."""

from __future__ import annotations

import hashlib
import pathlib
import re
import subprocess
import sys

from harness import PATIENCE, Scenario, Site
from s_server import OPENSSL
from support import Server


def s_client(port: int, version: str, *more: object) -> str:
    command = [OPENSSL.path(), "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-no_ticket", "-ign_eof"]
    done = subprocess.run([*command, *map(str, more)], input="GET / HTTP/1.0\r\n\r\n", capture_output=True, text=True,
                          timeout=PATIENCE, check=False)
    return done.stdout


def secret_of(session: pathlib.Path) -> tuple[bytes, bytes, int]:
    """The secret, the id, and the version's number."""
    command = [OPENSSL.path(), "sess_id", "-in", session, "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = dict(re.findall(r"^ *([\w -]+?) *: ([\w.]+)$", text, re.M))
    secret = fields.get("Resumption PSK") or fields["Master-Key"]
    if fields["Protocol"] == "TLSv1.2":
        return bytes.fromhex(secret), bytes.fromhex(fields["Session-ID"]), 0x303
    # The ticket is the id by which the server finds it.
    ticket = re.findall(r"^ +[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){16})", text, re.M)
    return bytes.fromhex(secret), bytes.fromhex("".join(ticket).replace("-", " ")), 0x304


def files(site: Site, server: Server, segment: pathlib.Path) -> dict[str, bytes]:
    """What the servers have written."""
    figures = next(path for path in pathlib.Path("/dev/shm").glob(f"sslsweep.{server.pid}.*"))
    return {path.name: path.read_bytes() for path in (segment, site.errors, site.output, figures)}


def is_kept_from_dumps(server: Server, segment: str) -> bool:
    """By the flag of its mapping."""
    entries = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", pathlib.Path(f"/proc/{server.pid}/smaps").read_text())
    flags = [re.search(r"^VmFlags: (.*)", entry, re.M) for entry in entries if segment in entry]
    return bool(flags) and all(found and "dd" in found[1].split() for found in flags)


def secrets(site: Site) -> None:
    site.options["SSLSWEEP_STATS"] = "1"
    segment, keys = site.host("64k")
    server, [port] = site.prefork(2)
    hidden = {}
    for version in "tls1_2", "tls1_3":
        session = site.folder / f"session.{version}"
        s_client(port, version, "-sess_out", session)
        secret, ident, number = secret_of(session)
        hidden[f"{version}'s secret"] = secret
        said = s_client(port, version, "-sess_in", session)
        site.so("S1", f"{version}: the client resumes its session", "\nReused, TLS" in said, said[-800:])
        name = hashlib.sha256(number.to_bytes(4, "big") + ident).digest()[:16]
        words = b"".join(int.from_bytes(name[at:at + 8], "big").to_bytes(8, sys.byteorder) for at in (0, 8))
        site.so("S6", f"{version}: its record is in the segment", words in segment.read_bytes(), ident.hex())
    hidden["the key"] = bytes.fromhex(keys.read_text().split()[1])
    for what, secret in hidden.items():
        site.so("S6", f"{what} is long enough to be searched for", len(secret) >= 32)
        forms = secret[:16], secret[-16:], secret.hex().encode()[:32], secret.hex().upper().encode()[:32]
        for path, contents in files(site, server, segment).items():
            site.check("S6", f"{what} in {path}: bytes and digits", [form in contents for form in forms], [False] * 4)
    site.so("S6", "the segment is left out of core dumps", is_kept_from_dumps(server, str(segment)))
    site.check("S7", "exit status", server.stop(), 0)


SCENARIOS = [Scenario("what is in files", secrets)]
