"""The stack's lock: one change at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from invoke_stack.errors import OutOfReach, writing


@contextmanager
def hold(state: Path, verb: str) -> Iterator[None]:
    """Hold the stack's lock. The kernel releases it when this process ends, in any way.

    Raises `OutOfReach` naming the holder if another process has it.
    """
    from filelock import FileLock, Timeout

    holder_file = state / "lock.json"
    lock = FileLock(state / "lock", timeout=0, mode=0o600)
    try:
        with writing(state):
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise OutOfReach(
            f"the stack is locked by {_describe_holder(holder_file)}",
            "wait until that command has ended",
        ) from None
    try:
        with writing(state):
            since = datetime.now(UTC).strftime("%H:%M:%S UTC")
            holder_file.touch(mode=0o600)
            holder_file.write_text(json.dumps({"pid": os.getpid(), "verb": verb, "since": since}))
        yield
    finally:
        holder_file.unlink(missing_ok=True)
        lock.release()


def _describe_holder(holder_file: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        holder = json.loads(holder_file.read_text())
        return f"`inv {holder['verb']}` (process {holder['pid']}, since {holder['since']})"
    return "another command"
