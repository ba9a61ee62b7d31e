"""Measure rows: each runs two ways to do a job in turn, and checks the result against a goal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.fixtures import Fixtures

Action = Callable[[], float]
"""Does the job once and returns its figure, in the unit of the row."""

Prepared = AbstractContextManager[tuple[Action, Action]]
"""A context that sets up and tears down; its value is our action and the other one."""


@dataclass(frozen=True)
class Goal:
    """A limit for the ratio of the medians: at most `limit`, unless a field says otherwise."""

    limit: float
    least: bool = False  # at least `limit`, where more is better
    difference: bool = False  # the limit is for the difference of the medians, in the row's unit

    def value(self, ours: float, theirs: float) -> float:
        """Return the figure that the limit applies to."""
        return ours - theirs if self.difference else ours / theirs

    def holds(self, value: float) -> bool:
        """Return True if the value is within the limit."""
        return value >= self.limit if self.least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One job, and the baseline that it is compared with."""

    name: str
    job: str
    baseline: str
    goal: Goal
    prepare: Callable[[Fixtures], Prepared]
    unit: str = "s"


def measure(row: Row, fixtures: Fixtures, pairs: int) -> dict[str, Any]:
    """Return the result of a row for the JSON file, or the reason under `failed`."""
    begin = time.monotonic()
    try:
        with row.prepare(fixtures) as (ours, theirs):
            figures = [(ours(), theirs()) for _ in range(pairs)]
        result = summary(row.goal, figures)
    # pytest's skip, as of a missing engine, is not an Exception.
    except (Exception, pytest.skip.Exception) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        result = {"failed": reason[:300]}
    took_seconds = round(time.monotonic() - begin, 1)
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"unit": row.unit, **result, "took_seconds": took_seconds, "measured_at": measured_at}


def summary(goal: Goal, figures: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return the spread of both sides, and how their medians compare."""
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
    """Return the median, minimum and maximum, and the quartiles as `lower` and `upper`."""
    sample = figures if len(figures) > 1 else [*figures, *figures]  # quantiles needs two
    low, median, high = statistics.quantiles(sample, n=4, method="inclusive")
    values = {"median": median, "min": min(figures), "lower": low, "upper": high}
    return {name: round(value, 5) for name, value in (values | {"max": max(figures)}).items()}
