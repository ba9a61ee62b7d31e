"""The record of the runtime that this checkout used last, in a file beside the lock."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from invoke_stack.config import RUNTIMES
from invoke_stack.errors import writing

FILE = "last-runtime"


def read(state: Path) -> str:
    """Return the runtime of the last `inv up`; empty if there is no valid record."""
    with suppress(OSError, UnicodeDecodeError):
        runtime = (state / FILE).read_text("utf-8").strip()
        if runtime in RUNTIMES and runtime != "auto":
            return runtime
    return ""


def write(state: Path, runtime: str) -> None:
    """Record that a stack is about to start on this runtime.

    The folder must exist; holding the lock ensures that.
    """
    new = state / f"{FILE}.new"
    with writing(state):
        new.touch(mode=0o600)
        new.write_text(f"{runtime}\n", "utf-8")
        new.replace(state / FILE)


def remove(state: Path, runtime: str) -> None:
    """Remove the record if it names this runtime, whose stack and data were deleted."""
    if read(state) == runtime:
        (state / FILE).unlink()
