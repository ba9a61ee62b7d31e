"""Signs of life of the worker and of beat: files that they touch while they work.

`python -m app.heartbeat worker` (or `beat`) exits 0 when the file is fresh, else 1: a probe that
costs no more than starting Python, and needs nobody else. Each sign is written to Redis as well,
for those who cannot see the file.
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from app.settings import load

if TYPE_CHECKING:  # the probe does without
    import redis

NAMES = ("worker", "beat")

INTERVAL = 5.0  # seconds between two touches
FRESH = 30.0  # seconds
KEPT = 86_400  # seconds that the last sign stays in Redis


def path(name: str) -> Path:
    return load().run_dir / f"{name}.heartbeat"


def touch(name: str) -> None:
    path(name).touch()


def tell(connection: redis.Redis, name: str) -> None:
    """Write a sign of life to Redis; when that is away, there is nobody to tell."""
    from redis import RedisError

    with contextlib.suppress(RedisError):
        connection.set(_key(name), 1, ex=KEPT)


def ages(connection: redis.Redis) -> dict[str, float | None]:
    """Seconds since the last sign of each, by Redis' own clock; None when there was none for a day.

    Raises `redis.RedisError`.
    """
    pipeline = connection.pipeline(transaction=False)
    for name in NAMES:
        pipeline.pttl(_key(name))
    left = zip(NAMES, pipeline.execute(), strict=True)
    return {name: round(KEPT - ms / 1000, 1) if ms >= 0 else None for name, ms in left}


def _key(name: str) -> str:
    return f"deal-scout:heartbeat:{name}"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in NAMES:
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
