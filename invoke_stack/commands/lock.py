"""One change of the stack at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from invoke_stack.errors import OutOfReach, writing


@contextmanager
def held(state: Path, verb: str) -> Iterator[None]:
    """Hold the stack's lock, which the system frees when this process ends, however it ends.

    Raises `OutOfReach` naming the holder when another process has it.
    """
    from filelock import FileLock, Timeout

    holder = state / "lock.json"
    lock = FileLock(state / "lock", timeout=0, mode=0o600)
    try:
        with writing(state):
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise OutOfReach(f"the stack is being changed by {_who(holder)}", "wait for it") from None
    try:
        with writing(state):
            since = datetime.now(UTC).strftime("%H:%M:%S UTC")
            holder.touch(mode=0o600)
            holder.write_text(json.dumps({"pid": os.getpid(), "verb": verb, "since": since}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        who = json.loads(holder.read_text())
        return f"`inv {who['verb']}` (process {who['pid']}, since {who['since']})"
    return "another command"
