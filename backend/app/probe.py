"""Swarm's probe of a replica: `python -m app.probe` exits 0 when it may have, or keep, its place.

Swarm has one probe for two questions. A new replica takes over once it is `/ready`, so that it
does not while it migrates; from then on `/live` decides, for replacing every replica would mend no
database. That it was ready once is remembered in RUN_DIR.
"""

from __future__ import annotations

import http.client
import sys

from app import boot
from app.settings import load

READY = "/ready?ahead=ok"  # a replica of the former release may come back after a migration
TIMEOUT = 3.0  # seconds; the whole probe has 5


def main() -> int:
    settings = load()
    mark = boot.was_ready(settings.run_dir)
    path = "/live" if mark.exists() else READY
    connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        print(f"{path} {answer.status} {answer.read(500).decode('utf-8', 'replace')}")
    except (OSError, http.client.HTTPException) as error:
        print(f"{path} {type(error).__name__}: {error}")
        return 1
    if answer.status != 200:
        return 1
    if path == READY:
        mark.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
