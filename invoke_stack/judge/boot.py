"""Parse the log lines of a start into the phases of a boot. Pure: lines in, a Boot out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from invoke_stack import timestamps
from invoke_stack.model import Boot, LogLine, Phase
from invoke_stack.profile.phases import Marker, MarkerKind, PhaseMarkers


def parse(lines: Iterable[LogLine], markers: PhaseMarkers) -> Boot:
    """Return the last boot in these lines, which are in order of time."""
    parser = BootParser(markers)
    for line in lines:
        parser.add(line)
    return parser.boot()


class BootParser:
    """Parses a boot line by line. When its first phase begins again, it forgets the boot before."""

    def __init__(self, markers: PhaseMarkers) -> None:
        self.markers = markers
        self._reset()

    def _reset(self) -> None:
        self._phases: list[_PhaseInProgress] = []
        self._serving_since: str | None = None
        self._last_marker_time = ""

    def add(self, line: LogLine) -> None:
        """Add one line; lines that are no markers are ignored."""
        prefix = self.markers.prefix
        if not line.text.startswith(prefix):
            served = self.markers.served
            if served and self._serving_since and served.match(line.text):
                self._close(self.markers.last, line.time, "serving")
            return
        self._last_marker_time = line.time
        text = line.text[len(prefix) :].strip()
        for marker in self.markers.markers:
            if match := marker.pattern.match(text):
                self._apply(marker, match, line.time)
                return

    def _apply(self, marker: Marker, match: re.Match[str], time: str) -> None:
        if marker.kind is MarkerKind.COUNTS:
            if phase := self._unfinished(marker.phase):
                phase.attempts = int(match[1])
        elif marker.kind is MarkerKind.EXPLAINS:
            if phase := self._unfinished(marker.phase):
                phase.cause = match[1]
        elif marker.kind is MarkerKind.ENDS:
            self._close(marker.phase, time, marker.outcome)
        else:
            self._open(marker.phase, time, marker.attempts)

    def _open(self, name: str, time: str, attempts: int) -> None:
        if name == self.markers.first:
            # The lines so far belong to a boot that ended without a marker.
            self._reset()
            self._last_marker_time = time
        elif self._unfinished(name):
            return
        for earlier, outcome in self.markers.implied.items():
            self._close(earlier, time, outcome)
        self._phases.append(_PhaseInProgress(name, time, attempts))
        if name == self.markers.last:
            self._serving_since = time

    def boot(self, served_after: float | None = None, until: str = "") -> Boot:
        """Return the boot so far; unfinished phases have no outcome.

        `until` is the end of an unfinished phase, by default the time of the last marker.
        `served_after` ends the last phase where no line does: the seconds from its beginning until
        the application first answered.
        """
        end = max(self._last_marker_time, until)
        phases = [phase.snapshot(end) for phase in self._phases]
        if served_after is not None and phases and phases[-1].name == self.markers.last:
            phases[-1] = replace(phases[-1], seconds=served_after, outcome="serving")
        return Boot(tuple(phases), self._serving_since)

    def _unfinished(self, name: str) -> _PhaseInProgress | None:
        return next((p for p in self._phases if p.name == name and not p.outcome), None)

    def _close(self, name: str, time: str, outcome: str) -> None:
        if phase := self._unfinished(name):
            phase.end, phase.outcome = time, outcome


class _PhaseInProgress:
    """A phase whose lines are being parsed."""

    def __init__(self, name: str, begin: str, attempts: int) -> None:
        self.name, self.begin, self.attempts = name, begin, attempts
        self.end, self.outcome, self.cause = "", "", ""

    def snapshot(self, now: str) -> Phase:
        """Return the phase as of `now`."""
        seconds = _seconds(self.begin, self.end or now)
        return Phase(self.name, seconds, self.attempts, self.outcome, self.cause)


def _seconds(begin: str, end: str) -> float:
    return max(0.0, (timestamps.parse(end) - timestamps.parse(begin)).total_seconds())
