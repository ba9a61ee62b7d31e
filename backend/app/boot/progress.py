"""How far the boot is: the entrypoint's lines in the log, and its state in `$RUN_DIR/boot`.

The state is `key=value` lines; of two with the same key the later one counts, so that whoever knows
more just adds it: the entrypoint, what it runs, and in the end the application.
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

PHASES = ("database", "migrations", "application")  # each begins where the one before it ends


@dataclass(frozen=True)
class Phase:
    """A part of a boot that has begun."""

    name: str
    began: float  # seconds since the epoch
    seconds: float  # so far, while it lasts
    attempts: int
    outcome: str  # empty while it lasts

    def body(self) -> dict[str, object]:
        return {
            "name": self.name,
            "began": datetime.fromtimestamp(self.began, UTC).isoformat(timespec="milliseconds"),
            "seconds": round(self.seconds, 2),
            "attempts": self.attempts,
            "outcome": self.outcome or None,
        }


def say(text: str) -> None:
    """One line of the entrypoint's log, in one write: other processes write to the same log."""
    os.write(1, f"[entrypoint] {text}\n".encode())


def read(run_dir: Path) -> dict[str, str]:
    """The boot state, empty when there is none."""
    with contextlib.suppress(OSError):
        lines = (run_dir / "boot").read_text("utf-8", "replace").splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}
    return {}


def write(run_dir: Path, **state: object) -> None:
    """Replace the boot state as a whole. Raises `OSError`."""
    new = run_dir / f"boot.{os.getpid()}"
    new.write_text(_lines(state), "utf-8")
    new.replace(run_dir / "boot")


def add(run_dir: Path, **state: object) -> None:
    """Add to the boot state, in one write, as others may do the same. Raises `OSError`."""
    with (run_dir / "boot").open("ab", buffering=0) as file:
        file.write(_lines(state).encode())


def _lines(state: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in state.items())


def begin(run_dir: Path) -> None:
    """Forget the boot before this one."""
    try:
        cause(run_dir).unlink(missing_ok=True)
        was_ready(run_dir).unlink(missing_ok=True)
        for counts in worker_metrics(run_dir).glob("*"):
            counts.unlink(missing_ok=True)
        write(run_dir, phase="waiting", migrations="unknown", database_began=time.time())
    except OSError as error:
        say(
            f"WARNING: RUN_DIR {run_dir}: {error.strerror}. Probes cannot tell how far the boot is."
        )


def end(run_dir: Path) -> None:
    """Note that the application serves: the boot is over. Only the first time counts."""
    state = read(run_dir)
    if "application_began" in state and "application_ended" not in state:
        with contextlib.suppress(OSError):
            add(run_dir, application_outcome="serving", application_ended=time.time())


def phases(state: Mapping[str, str], now: float) -> list[Phase]:
    """What a boot state tells of the phases that have begun, in their order."""
    begins = [_moment(state.get(f"{name}_began")) for name in PHASES]
    ends = [*begins[1:], _moment(state.get("application_ended"))]
    return [
        Phase(
            name,
            began,
            max(0.0, (now if ended is None else ended) - began),
            _count(state.get(f"{name}_attempts")) or 1,
            "" if ended is None else state.get(f"{name}_outcome", ""),
        )
        for name, began, ended in zip(PHASES, begins, ends, strict=True)
        if began is not None
    ]


def attempt(state: Mapping[str, str]) -> dict[str, int]:
    """Which `attempt` of how many `attempts` is under way; empty when none is counted."""
    name = {"waiting": "database", "migrating": "migrations"}.get(state.get("phase", ""))
    number, limit = (_count(state.get(f"{name}_{key}")) for key in ("attempts", "limit"))
    return {"attempt": number, "attempts": limit} if number and limit else {}


def _moment(text: str | None) -> float | None:
    """Seconds since the epoch, as `date` wrote them."""
    match = re.match(r"\d{1,11}(\.\d+)?", text or "", re.ASCII)
    return float(match[0]) if match else None


def _count(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text, re.ASCII) else None


def cause(run_dir: Path) -> Path:
    """The file that remembers why the last migration attempt failed."""
    return run_dir / "migration-cause"


def was_ready(run_dir: Path) -> Path:
    """The file that is there once the application of this boot has been ready."""
    return run_dir / "was-ready"


def worker_metrics(run_dir: Path) -> Path:
    """Return the folder in which each of several workers keeps its counts, for all to add up."""
    return run_dir / "worker-metrics"
