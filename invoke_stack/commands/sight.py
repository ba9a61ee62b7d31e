"""What someone who looks again and again knows: what was last seen, and since when it is not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from invoke_stack.errors import OpsError

T = TypeVar("T")


@dataclass
class Sight(Generic[T]):
    """The last look that saw something, and the failing ones since then."""

    seen: T | None = None
    seen_at: datetime | None = None
    looked_at: datetime | None = None  # whatever that look found
    problem: OpsError | None = None  # of the last look
    away_since: datetime | None = None
    back_at: datetime | None = None
    away_for: float = 0.0  # seconds that it was away before it was back

    def take(self, found: T | OpsError, at: datetime) -> None:
        """Take what a look that began `at` has found."""
        self.looked_at = at
        if isinstance(found, OpsError):
            self.away_since = self.away_since or at
            self.problem, self.back_at = found, None
            return
        if self.away_since:
            self.back_at, self.away_for = at, (at - self.away_since).total_seconds()
        self.seen, self.seen_at = found, at
        self.problem = self.away_since = None
