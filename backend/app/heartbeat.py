"""Heartbeats of the worker and of beat: files that they touch while they work.

`python -m app.heartbeat worker` (or `beat`) exits 0 if the file is recent, else 1: a probe that
costs no more than starting Python and depends on no server. Each heartbeat is written to Redis as
well, for readers on other machines.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import load

if TYPE_CHECKING:  # the probe does not need it
    import redis

NAMES = ("worker", "beat")

INTERVAL = 5.0  # seconds between two heartbeats
MAX_AGE = 30.0  # seconds
RETENTION = 86_400  # seconds that the last heartbeat stays in Redis


def file_path(name: str) -> Path:
    """Return the file that `name`, one of `NAMES`, touches."""
    return load().run_dir / f"{name}.heartbeat"


def touch(name: str) -> None:
    """Record a heartbeat in the file."""
    file_path(name).touch()


def publish(connection: redis.Redis, name: str) -> None:
    """Record a heartbeat in Redis, if it is available."""
    from redis import RedisError

    with contextlib.suppress(RedisError):
        connection.set(_key(name), 1, ex=RETENTION)


def ages(connection: redis.Redis) -> dict[str, float | None]:
    """Return the seconds since each last heartbeat, by the clock of Redis.

    None if there was none for a day. Raises `redis.RedisError`.
    """
    pipeline = connection.pipeline(transaction=False)
    for name in NAMES:
        pipeline.pttl(_key(name))
    lifetimes = zip(NAMES, pipeline.execute(), strict=True)
    return {name: round(RETENTION - ms / 1000, 1) if ms >= 0 else None for name, ms in lifetimes}


def _key(name: str) -> str:
    return f"deal-scout:heartbeat:{name}"


def main(arguments: list[str]) -> int:
    """Check a heartbeat file and return the exit code."""
    if len(arguments) != 1 or arguments[0] not in NAMES:
        print("usage: python -m app.heartbeat worker|beat", file=sys.stderr)
        return 2
    file = file_path(arguments[0])
    try:
        age = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        print(f"no heartbeat yet: {file}")
        return 1
    print(f"{age:.0f} s since the last heartbeat")
    return 0 if age <= MAX_AGE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
