"""The log lines that mark the phases of a start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class MarkerKind(Enum):
    """What a marker says about its phase."""

    BEGINS = 1
    COUNTS = 2  # its first group is the number of the attempt
    ENDS = 3
    EXPLAINS = 4  # its first group is the cause of a problem


@dataclass(frozen=True)
class Marker:
    """A pattern of log lines that mark one phase."""

    phase: str
    kind: MarkerKind
    pattern: re.Pattern[str]
    outcome: str = ""  # of a phase that ends
    attempts: int = 1  # of a phase that begins; 0 if each attempt has a line of its own


@dataclass(frozen=True)
class PhaseMarkers:
    """The markers of a start. In its last phase the service begins to serve."""

    markers: tuple[Marker, ...] = ()
    prefix: str = ""  # of all marker lines
    implied: Mapping[str, str] = field(default_factory=dict)  # outcome when a later phase begins
    served: re.Pattern[str] | None = None  # a line without the prefix that ends the last phase

    @property
    def first(self) -> str:
        """The name of the first phase; empty if there is none."""
        return self.markers[0].phase if self.markers else ""

    @property
    def last(self) -> str:
        """The name of the last phase; empty if there is none."""
        return self.markers[-1].phase if self.markers else ""


NO_PHASES = PhaseMarkers()
"""For a start without phases."""


def compile_markers(phases: Mapping[str, tuple[str, str]]) -> PhaseMarkers:
    """Return the PhaseMarkers of `{name: (begin, end)}`, in order.

    `begin` and `end` are regular expressions, searched anywhere in a line. A phase with an empty
    `end` ends where the next one begins. Raises `re.error`.
    """
    markers = []
    for name, (begin, end) in phases.items():
        markers.append(Marker(name, MarkerKind.BEGINS, re.compile(f".*?(?:{begin})")))
        if end:
            markers.append(Marker(name, MarkerKind.ENDS, re.compile(f".*?(?:{end})"), "done"))
    return PhaseMarkers(tuple(markers), implied=dict.fromkeys(phases, "done"))
