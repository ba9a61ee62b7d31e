"""Which lines of a start tell of which phase.

The Script of deal-scout's entrypoint knows its markers in its own words and in the shorter forms
that older entrypoints print (`Alembic attempt 6/6... ✗` on one line).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

DATABASE, MIGRATIONS, APPLICATION = "database", "migrations", "application"


class Says(Enum):
    """What a marker says of its phase."""

    BEGINS = 1
    COUNTS = 2  # its first group is the number of the attempt
    ENDS = 3
    EXPLAINS = 4  # its first group is why the phase does not go well


@dataclass(frozen=True)
class Marker:
    """A line of a start that says something of one phase."""

    phase: str
    says: Says
    pattern: re.Pattern[str]
    outcome: str = ""  # of a phase that ends
    attempts: int = 1  # of a phase that begins: 0 when each attempt is announced


@dataclass(frozen=True)
class Script:
    """How a start tells its story. The last phase is the one in which it begins to serve."""

    markers: tuple[Marker, ...]
    prefix: str = ""  # what all marker lines begin with
    overtaken: Mapping[str, str] = field(default_factory=dict)  # outcome when the next one begins
    served: re.Pattern[str] | None = None  # a line without the prefix, with which the last one ends

    @property
    def first(self) -> str:
        return self.markers[0].phase if self.markers else ""

    @property
    def last(self) -> str:
        return self.markers[-1].phase if self.markers else ""


def _marker(phase: str, says: Says, pattern: str, outcome: str = "", attempts: int = 1) -> Marker:
    return Marker(phase, says, re.compile(pattern, re.IGNORECASE), outcome, attempts)


ENTRYPOINT = Script(
    prefix="[entrypoint]",
    markers=(
        _marker(DATABASE, Says.BEGINS, r"Waiting for Postgres\b"),
        _marker(DATABASE, Says.COUNTS, r"Attempt (\d+)/\d+"),
        _marker(DATABASE, Says.EXPLAINS, r"(Postgres can be reached, but not used: .+)"),
        _marker(DATABASE, Says.EXPLAINS, r"(DB_HOST \S+ is not found: .+)"),
        _marker(DATABASE, Says.ENDS, r"✓ DB connectivity check complete", "answered"),
        _marker(MIGRATIONS, Says.BEGINS, r"Running database migrations", attempts=0),
        _marker(MIGRATIONS, Says.COUNTS, r"Alembic attempt (\d+)/\d+"),
        _marker(MIGRATIONS, Says.EXPLAINS, r"Cause: (?!the same as before)(.+)"),
        _marker(MIGRATIONS, Says.ENDS, r"✓ Migrations applied successfully", "applied"),
        _marker(MIGRATIONS, Says.ENDS, r".*migrations skipped", "skipped"),
        _marker(MIGRATIONS, Says.ENDS, r".*Migrations did not complete", "failed"),
        _marker(APPLICATION, Says.BEGINS, r"Starting Uvicorn application"),
    ),
    overtaken={DATABASE: "timed out", MIGRATIONS: "skipped"},
    served=re.compile(r"INFO: +Application startup complete"),  # Uvicorn's own words
)


def script(phases: Mapping[str, tuple[str, str]]) -> Script:
    """Return the Script for phases in their order, each with what begins it and what ends it.

    Both are regular expressions, found anywhere in a line; without an end, a phase ends where the
    next one begins. Raises `re.error`.
    """
    markers = []
    for name, (begin, end) in phases.items():
        markers.append(Marker(name, Says.BEGINS, re.compile(f".*?(?:{begin})")))
        if end:
            markers.append(Marker(name, Says.ENDS, re.compile(f".*?(?:{end})"), "done"))
    return Script(tuple(markers), overtaken=dict.fromkeys(phases, "done"))
