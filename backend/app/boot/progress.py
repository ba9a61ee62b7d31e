"""The progress of the boot: the entrypoint's log lines, and the boot state in `$RUN_DIR/boot`.

The boot state is `key=value` lines; the last line of a key wins. So every process of the boot can
simply append: the entrypoint, the commands that it runs and finally the application.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PHASES = ("database", "migrations", "application")  # each starts when the previous one ends


@dataclass(frozen=True)
class Phase:
    """A phase of the boot that has started."""

    name: str
    started_at: float  # seconds since the epoch
    seconds: float  # so far, while it is running
    attempts: int
    outcome: str  # empty while it is running

    def body(self) -> dict[str, object]:
        """Return the phase as in the JSON of /overview."""
        began = datetime.fromtimestamp(self.started_at, UTC)
        return {
            "name": self.name,
            "began": began.isoformat(timespec="milliseconds"),
            "seconds": round(self.seconds, 2),
            "attempts": self.attempts,
            "outcome": self.outcome or None,
        }


def log(text: str) -> None:
    """Print a line of the entrypoint's log in one write, as other processes use the same log."""
    os.write(1, f"[entrypoint] {text}\n".encode())


def read(run_dir: Path) -> dict[str, str]:
    """Return the boot state; empty if there is none."""
    with contextlib.suppress(OSError):
        lines = (run_dir / "boot").read_text("utf-8", "replace").splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}
    return {}


def write(run_dir: Path, **state: object) -> None:
    """Replace the boot state. Raises `OSError`."""
    new = run_dir / f"boot.{os.getpid()}"
    new.write_text(_lines(state), "utf-8")
    new.replace(run_dir / "boot")


def append(run_dir: Path, **state: object) -> None:
    """Append to the boot state in one write, as it has other writers. Raises `OSError`."""
    with (run_dir / "boot").open("ab", buffering=0) as file:
        file.write(_lines(state).encode())


def _lines(state: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in state.items())


def start(run_dir: Path) -> None:
    """Start a new boot state and remove the files of the previous boot."""
    try:
        cause_file(run_dir).unlink(missing_ok=True)
        was_ready_file(run_dir).unlink(missing_ok=True)
        for file in worker_metrics_folder(run_dir).glob("*"):
            file.unlink(missing_ok=True)
        write(run_dir, phase="waiting", migrations="unknown", database_began=time.time())
    except OSError as error:
        log(f"WARNING: RUN_DIR {run_dir}: {error.strerror}. Probes cannot report boot progress.")


def finish(run_dir: Path) -> None:
    """Record that the application serves, unless that is recorded already."""
    state = read(run_dir)
    if "application_began" in state and "application_ended" not in state:
        with contextlib.suppress(OSError):
            append(run_dir, application_outcome="serving", application_ended=time.time())


def phases(state: Mapping[str, str], now: float) -> list[Phase]:
    """Return the phases that have started, in order."""
    starts = [_timestamp(state.get(f"{name}_began")) for name in PHASES]
    ends = [*starts[1:], _timestamp(state.get("application_ended"))]
    return [
        Phase(
            name,
            started_at,
            max(0.0, (now if ended_at is None else ended_at) - started_at),
            _count(state.get(f"{name}_attempts")) or 1,
            "" if ended_at is None else state.get(f"{name}_outcome", ""),
        )
        for name, started_at, ended_at in zip(PHASES, starts, ends, strict=True)
        if started_at is not None
    ]


def attempt(state: Mapping[str, str]) -> dict[str, int]:
    """Return the current `attempt` and the number of `attempts`; empty if not counted."""
    name = {"waiting": "database", "migrating": "migrations"}.get(state.get("phase", ""))
    number, limit = (_count(state.get(f"{name}_{key}")) for key in ("attempts", "limit"))
    return {"attempt": number, "attempts": limit} if number and limit else {}


def _timestamp(text: str | None) -> float | None:
    """Parse seconds since the epoch, as printed by `date`."""
    match = re.match(r"\d{1,11}(\.\d+)?", text or "", re.ASCII)
    return float(match[0]) if match else None


def _count(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text, re.ASCII) else None


def cause_file(run_dir: Path) -> Path:
    """Return the path of the file with the cause of the last failed migration."""
    return run_dir / "migration-cause"


def was_ready_file(run_dir: Path) -> Path:
    """Return the path of the file that exists once the application has been ready in this boot."""
    return run_dir / "was-ready"


def worker_metrics_folder(run_dir: Path) -> Path:
    """Return the folder in which each worker writes its metrics, for any worker to sum up."""
    return run_dir / "worker-metrics"
