"""The record of which runtime this checkout used last: a file beside the lock."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from invoke_stack.config import RUNTIMES
from invoke_stack.errors import writing

FILE = "last-runtime"


def read(state: Path) -> str:
    """Return the runtime of the last `inv up`; empty if there is none, or the file is not ours."""
    with suppress(OSError, UnicodeDecodeError):
        runtime = (state / FILE).read_text("utf-8").strip()
        if runtime in RUNTIMES and runtime != "auto":
            return runtime
    return ""


def write(state: Path, runtime: str) -> None:
    """Note that a stack is about to be started on this runtime. The folder exists: it has the lock."""
    new = state / f"{FILE}.new"
    with writing(state):
        new.touch(mode=0o600)
        new.write_text(f"{runtime}\n", "utf-8")
        new.replace(state / FILE)


def remove(state: Path, runtime: str) -> None:
    """Forget this runtime, whose stack was deleted with its data; another one stays recorded."""
    if read(state) == runtime:
        (state / FILE).unlink()
