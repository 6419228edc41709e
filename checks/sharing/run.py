#!/usr/bin/env python3
"""run.py LIB: tries sharing with programs that nobody here wrote, and with small servers of Python's ssl module. LIB is
sslsweep's library, beside which its share library lies. Prints TAP, then which promises were named by passing checks
and how many passed. Exits 1 if any check failed, or if all scenarios were played and a promise was not named.

  SCENARIOS="processes nginx"  only these files, or single scenarios as FILE/NUMBER (by environment)
  MINUTES=5                    how long storms last (seconds otherwise)
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

from harness import PROMISES, Certificate, Site
import scenarios  # (harness has said where it is)

FILES = ["processes", "workers", "hosts", "fleet", "ftp_data", "stateful", "removal", "faults", "keys", "hostile", "secrets",
         "storms"]


def main() -> None:
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_file():
        sys.exit(__doc__)
    lib = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="sharing-certificate.") as folder:
        certificate = Certificate.make(pathlib.Path(folder), "localhost")
        scenarios.main(FILES, PROMISES, "sharing", lambda scene: Site(scene, lib, certificate))


if __name__ == "__main__":
    main()
