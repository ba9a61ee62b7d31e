"""The results of repeated polls: the last value, and since when polls fail. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from invoke_stack.errors import StackError

T = TypeVar("T")


@dataclass
class PollState(Generic[T]):
    """The value of the last successful poll, and the failure since then, if any."""

    value: T | None = None
    value_at: datetime | None = None
    polled_at: datetime | None = None  # of the last poll, also of a failed one
    problem: StackError | None = None  # of the last poll
    failing_since: datetime | None = None
    recovered_at: datetime | None = None
    outage_seconds: float = 0.0  # of the outage that ended at `recovered_at`

    def record(self, result: T | StackError, at: datetime) -> None:
        """Record the result of a poll that began `at`."""
        self.polled_at = at
        if isinstance(result, StackError):
            self.failing_since = self.failing_since or at
            self.problem, self.recovered_at = result, None
            return
        if self.failing_since:
            self.recovered_at, self.outage_seconds = at, (at - self.failing_since).total_seconds()
        self.value, self.value_at = result, at
        self.problem = self.failing_since = None
