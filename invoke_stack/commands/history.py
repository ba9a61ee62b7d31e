"""A service's health over time: its latencies, and when its state changed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from invoke_stack.model import Health, State

SAMPLES = 500  # kept of each replica; more than any terminal has columns
CHANGES = 200  # kept in all


@dataclass(frozen=True)
class Sample:
    """The result of one health check of one replica."""

    state: State
    latency_ms: float | None


@dataclass(frozen=True)
class Change:
    """A change of a replica's state, at the time of the check that noticed it."""

    replica: str
    at: datetime
    state: State
    reason: str = ""  # why the replica is not healthy
    previous: State | None = None  # None for the first check
    previous_seconds: float = 0.0  # how long the previous state lasted


@dataclass
class Track:
    """The samples of one replica, newest last, and its last change."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    last: Change | None = None


class History:
    """Collects health checks, which are added in the order in which they were made."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}  # by replica
        self.changes: deque[Change] = deque(maxlen=CHANGES)  # newest last

    def add(self, healths: Sequence[Health]) -> None:
        """Add one health check of each replica."""
        for health in healths:
            sample = Sample(health.state, health.latency_ms)
            self._add_sample(health.replica, sample, health.checked_at, health.reason)

    def add_failure(self, at: datetime, reason: str) -> None:
        """Record that the check itself failed: every known replica is unreachable."""
        for replica in self.tracks:
            self._add_sample(replica, Sample(State.UNREACHABLE, None), at, reason)

    def _add_sample(self, replica: str, sample: Sample, at: datetime, reason: str) -> None:
        track = self.tracks.setdefault(replica, Track())
        track.samples.append(sample)
        last = track.last
        if last and last.state is sample.state:
            return
        previous = last.state if last else None
        previous_seconds = (at - last.at).total_seconds() if last else 0.0
        track.last = Change(replica, at, sample.state, reason, previous, previous_seconds)
        self.changes.append(track.last)
