"""Measures a row: two ways to do one job, turn by turn, and how the goal fares."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.place import Place

Action = Callable[[], float]
"""Does the job once; its figure in the unit of the row."""

Prepared = AbstractContextManager[tuple[Action, Action]]
"""Ours and the other one, between what sets both up and what takes that down."""


@dataclass(frozen=True)
class Goal:
    """What the figures should come to: at most so much, as a ratio of medians if nothing else is said."""

    limit: float
    least: bool = False  # at least so much, where more is better
    difference: bool = False  # of the medians, in the row's unit

    def value(self, ours: float, theirs: float) -> float:
        """What is held against the limit."""
        return ours - theirs if self.difference else ours / theirs

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One job, and what it is measured against."""

    name: str
    job: str
    against: str
    goal: Goal
    prepare: Callable[[Place], Prepared]
    unit: str = "s"


def measure(row: Row, place: Place, pairs: int) -> dict[str, Any]:
    """The row's result, as it stands in the JSON; a row that fails tells its reason instead."""
    begin = time.monotonic()
    try:
        with row.prepare(place) as (ours, theirs):
            figures = [(ours(), theirs()) for _ in range(pairs)]
        result = summary(row.goal, figures)
    # A skip, such as that of a missing engine, is no Exception.
    except (Exception, pytest.skip.Exception) as problem:
        why = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        result = {"failed": why[:300]}
    took = round(time.monotonic() - begin, 1)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"unit": row.unit, **result, "took_seconds": took, "measured_at": at}


def summary(goal: Goal, figures: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Medians, spread, and how they compare."""
    ours, theirs = (spread([pair[side] for pair in figures]) for side in (0, 1))
    value = goal.value(ours["median"], theirs["median"])
    return {
        "pairs": len(figures),
        "ours": ours,
        "theirs": theirs,
        "difference" if goal.difference else "ratio": round(value, 3),
        "holds": goal.holds(round(value, 3)),
        "figures": [[round(figure, 5) for figure in pair] for pair in figures],
    }


def spread(figures: Sequence[float]) -> dict[str, float]:
    """The middle, and how far the figures lie from it: half of them are between the quartiles."""
    several = figures if len(figures) > 1 else [*figures, *figures]
    low, middle, high = statistics.quantiles(several, n=4, method="inclusive")
    named = {"median": middle, "min": min(figures), "lower": low, "upper": high}
    return {name: round(value, 5) for name, value in (named | {"max": max(figures)}).items()}
