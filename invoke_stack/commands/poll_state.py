"""What someone who looks again and again knows: what was last seen, and since when it is not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from invoke_stack.errors import StackError

T = TypeVar("T")


@dataclass
class PollState(Generic[T]):
    """The last look that saw something, and the failing ones since then."""

    seen: T | None = None
    value_at: datetime | None = None
    polled_at: datetime | None = None  # whatever that look found
    problem: StackError | None = None  # of the last look
    failing_since: datetime | None = None
    recovered_at: datetime | None = None
    outage_seconds: float = 0.0  # seconds that it was away before it was back

    def take(self, found: T | StackError, at: datetime) -> None:
        """Take what a look that began `at` has found."""
        self.polled_at = at
        if isinstance(found, StackError):
            self.failing_since = self.failing_since or at
            self.problem, self.recovered_at = found, None
            return
        if self.failing_since:
            self.recovered_at, self.outage_seconds = at, (at - self.failing_since).total_seconds()
        self.seen, self.value_at = found, at
        self.problem = self.failing_since = None
