"""Which log lines begin and end the phases of a start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class MarkerKind(Enum):
    """What a marker says of its phase."""

    BEGINS = 1
    COUNTS = 2  # its first group is the number of the attempt
    ENDS = 3
    EXPLAINS = 4  # its first group is why the phase does not go well


@dataclass(frozen=True)
class Marker:
    """A line of a start that says something of one phase."""

    phase: str
    says: MarkerKind
    pattern: re.Pattern[str]
    outcome: str = ""  # of a phase that ends
    attempts: int = 1  # of a phase that begins: 0 when each attempt is announced


@dataclass(frozen=True)
class PhaseMarkers:
    """How a start tells its story. The last phase is the one in which it begins to serve."""

    markers: tuple[Marker, ...] = ()
    prefix: str = ""  # what all marker lines begin with
    overtaken: Mapping[str, str] = field(default_factory=dict)  # outcome when the next one begins
    served: re.Pattern[str] | None = None  # a line without the prefix, with which the last one ends

    @property
    def first(self) -> str:
        return self.markers[0].phase if self.markers else ""

    @property
    def last(self) -> str:
        return self.markers[-1].phase if self.markers else ""


NO_PHASES = PhaseMarkers()
"""For a start that no line tells of."""


def compile_markers(phases: Mapping[str, tuple[str, str]]) -> PhaseMarkers:
    """Return the PhaseMarkers for phases in their order, each with what begins it and what ends it.

    Both are regular expressions, found anywhere in a line; without an end, a phase ends where the
    next one begins. Raises `re.error`.
    """
    markers = []
    for name, (begin, end) in phases.items():
        markers.append(Marker(name, MarkerKind.BEGINS, re.compile(f".*?(?:{begin})")))
        if end:
            markers.append(Marker(name, MarkerKind.ENDS, re.compile(f".*?(?:{end})"), "done"))
    return PhaseMarkers(tuple(markers), overtaken=dict.fromkeys(phases, "done"))
