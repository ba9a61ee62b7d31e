"""A start's log lines → the phases of a boot. Pure: lines in, a Boot out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from invoke_stack import timestamps
from invoke_stack.model import Boot, LogLine, Phase
from invoke_stack.profile.phases import Marker, MarkerKind, PhaseMarkers


def read(lines: Iterable[LogLine], markers: PhaseMarkers) -> Boot:
    """The last boot that these lines, in order of time, tell of."""
    story = BootStory(markers)
    for line in lines:
        story.add(line)
    return story.boot()


class BootStory:
    """Reads a boot line by line. When its first phase begins again, a new story starts."""

    def __init__(self, markers: PhaseMarkers) -> None:
        self.markers = markers
        self._begin()

    def _begin(self) -> None:
        self._phases: list[_Open] = []
        self._serving_since: str | None = None
        self._last = ""

    def add(self, line: LogLine) -> None:
        """Take one line; lines that are no markers change nothing."""
        prefix = self.markers.prefix
        if not line.text.startswith(prefix):
            served = self.markers.served
            if served and self._serving_since and served.match(line.text):
                self._close(self.markers.last, line.time, "serving")
            return
        self._last = line.time
        text = line.text[len(prefix) :].strip()
        for marker in self.markers.markers:
            if match := marker.pattern.match(text):
                self._take(marker, match, line.time)
                return

    def _take(self, marker: Marker, match: re.Match[str], time: str) -> None:
        if marker.says is MarkerKind.COUNTS:
            if phase := self._find(marker.phase):
                phase.attempts = int(match[1])
        elif marker.says is MarkerKind.EXPLAINS:
            if phase := self._find(marker.phase):
                phase.cause = match[1]
        elif marker.says is MarkerKind.ENDS:
            self._close(marker.phase, time, marker.outcome)
        else:
            self._open(marker.phase, time, marker.attempts)

    def _open(self, name: str, time: str, attempts: int) -> None:
        if name == self.markers.first:
            # Whatever was told before belongs to a boot that ended without a word.
            self._begin()
            self._last = time
        elif self._find(name):
            return
        for earlier, outcome in self.markers.overtaken.items():
            self._close(earlier, time, outcome)
        self._phases.append(_Open(name, time, attempts))
        if name == self.markers.last:
            self._serving_since = time

    def boot(self, served_after: float | None = None, until: str = "") -> Boot:
        """What has been told so far; a phase that lasts has no outcome, and lasts `until` then.

        `served_after` is for what no line tells: the seconds from the last phase's beginning until
        it was seen to serve. By default a phase that lasts does so until the last marker.
        """
        phases = [phase.frozen(max(self._last, until)) for phase in self._phases]
        if served_after is not None and phases and phases[-1].name == self.markers.last:
            phases[-1] = replace(phases[-1], seconds=served_after, outcome="serving")
        return Boot(tuple(phases), self._serving_since)

    def _find(self, name: str) -> _Open | None:
        return next((p for p in self._phases if p.name == name and not p.outcome), None)

    def _close(self, name: str, time: str, outcome: str) -> None:
        if phase := self._find(name):
            phase.end, phase.outcome = time, outcome


class _Open:
    """A phase that is being told."""

    def __init__(self, name: str, begin: str, attempts: int) -> None:
        self.name, self.begin, self.attempts = name, begin, attempts
        self.end, self.outcome, self.cause = "", "", ""

    def frozen(self, last: str) -> Phase:
        seconds = _seconds(self.begin, self.end or last)
        return Phase(self.name, seconds, self.attempts, self.outcome, self.cause)


def _seconds(begin: str, end: str) -> float:
    return max(0.0, (timestamps.parse(end) - timestamps.parse(begin)).total_seconds())
