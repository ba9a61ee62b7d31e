"""What became of a service's health over time: its latencies, and when its state changed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from invoke_stack.model import Health, State

SAMPLES = 500  # of a replica; more than any terminal has columns
CHANGES = 200


@dataclass(frozen=True)
class Sample:
    """One look at one replica."""

    state: State
    latency_ms: float | None


@dataclass(frozen=True)
class Change:
    """The moment in which a replica was first seen in another state."""

    replica: str
    at: datetime
    state: State
    why: str = ""  # it is not healthy
    before: State | None = None  # None for the first look
    lasted: float = 0.0  # seconds that the state before was seen


@dataclass
class Track:
    """One replica's samples, the newest last, and its last change."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    last: Change | None = None


class History:
    """Remembers looks in the order in which they were made."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}  # by replica
        self.changes: deque[Change] = deque(maxlen=CHANGES)  # the newest last

    def add(self, looks: Sequence[Health]) -> None:
        """Take a look at all replicas."""
        for look in looks:
            sample = Sample(look.state, look.latency_ms)
            self._take(look.replica, sample, look.checked_at, look.reason)

    def lose(self, at: datetime, why: str) -> None:
        """Nothing could be seen: every known replica is out of reach."""
        for replica in self.tracks:
            self._take(replica, Sample(State.UNREACHABLE, None), at, why)

    def _take(self, replica: str, sample: Sample, at: datetime, why: str) -> None:
        track = self.tracks.setdefault(replica, Track())
        track.samples.append(sample)
        last = track.last
        if last and last.state is sample.state:
            return
        lasted = (at - last.at).total_seconds() if last else 0.0
        before = last.state if last else None
        track.last = Change(replica, at, sample.state, why, before, lasted)
        self.changes.append(track.last)
