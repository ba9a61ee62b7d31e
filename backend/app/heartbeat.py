"""Signs of life of the worker and of beat: files that they touch while they work.

`python -m app.heartbeat worker` (or `beat`) exits 0 when the file is fresh, else 1: a probe that
costs no more than starting Python.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from app.settings import load

INTERVAL = 5.0  # seconds between two touches
FRESH = 30.0  # seconds


def path(name: str) -> Path:
    return load().run_dir / f"{name}.heartbeat"


def touch(name: str) -> None:
    path(name).touch()


def main(arguments: list[str]) -> int:
    if arguments not in (["worker"], ["beat"]):
        print("usage: python -m app.heartbeat worker|beat", file=sys.stderr)
        return 2
    file = path(arguments[0])
    try:
        age = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        print(f"no heartbeat yet: {file}")
        return 1
    print(f"{age:.0f} s since the last heartbeat")
    return 0 if age <= FRESH else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
