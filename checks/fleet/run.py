#!/usr/bin/env python3
"""run.py PROGRAMS LIB: the agent, with engines, segments and servers that the tests start. PROGRAMS is the folder with the
command, the agent (sslsweep-shared) and the examples of its crate; LIB is sslsweep's library, beside which its share
library lies. Prints TAP; exits 1 if any check failed, or if all scenarios were
played and a promise was neither named nor left out.

  SCENARIOS="engines agents/3"  only these files, or single scenarios as FILE/NUMBER (by environment)
  ENGINE=/PATH/valkey-server    another engine than Redis
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

from harness import PROMISES, Site, Tls
import scenarios  # (harness has said where it is)

FILES = ["engines", "agents", "unit", "hosts"]


def main() -> None:
    if len(sys.argv) != 3 or not pathlib.Path(sys.argv[1]).is_dir() or not pathlib.Path(sys.argv[2]).is_file():
        sys.exit(__doc__)
    programs, library = (pathlib.Path(word).resolve() for word in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="fleet-certificates.") as folder:
        tls = Tls.make(pathlib.Path(folder))
        scenarios.main(FILES, PROMISES, "fleet", lambda scene: Site(scene, programs, library, tls), may_leave_out=True)


if __name__ == "__main__":
    main()
