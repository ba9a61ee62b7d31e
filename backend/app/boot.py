"""How far the boot is: the entrypoint's lines in the log, and its state in `$RUN_DIR/boot`."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def say(text: str) -> None:
    """One line of the entrypoint's log, in one write: other processes write to the same log."""
    os.write(1, f"[entrypoint] {text}\n".encode())


def read(run_dir: Path) -> dict[str, str]:
    """The boot state, empty when there is none."""
    with contextlib.suppress(OSError):
        lines = (run_dir / "boot").read_text("utf-8", "replace").splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}
    return {}


def write(run_dir: Path, **state: str) -> None:
    """Replace the boot state as a whole. Raises `OSError`."""
    new = run_dir / f"boot.{os.getpid()}"
    new.write_text("".join(f"{key}={value}\n" for key, value in state.items()), "utf-8")
    new.replace(run_dir / "boot")


def begin(run_dir: Path) -> None:
    """Forget the boot before this one."""
    try:
        cause(run_dir).unlink(missing_ok=True)
        was_ready(run_dir).unlink(missing_ok=True)
        write(run_dir, phase="waiting", since=str(int(time.time())), migrations="unknown")
    except OSError as error:
        say(
            f"WARNING: RUN_DIR {run_dir}: {error.strerror}. Probes cannot tell how far the boot is."
        )


def cause(run_dir: Path) -> Path:
    """The file that remembers why the last migration attempt failed."""
    return run_dir / "migration-cause"


def was_ready(run_dir: Path) -> Path:
    """The file that is there once the application of this boot has been ready."""
    return run_dir / "was-ready"
