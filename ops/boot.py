"""The entrypoint's log lines → the phases of a boot. Pure: lines in, a Boot out.

The markers are those of the entrypoint, in its own words and in the shorter forms that older
entrypoints print (`Alembic attempt 6/6... ✗` on one line).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from ops.model import Boot, LogLine, Phase

PREFIX = "[entrypoint]"
DATABASE, MIGRATIONS, APPLICATION = "database", "migrations", "application"

_WAITING = re.compile(r"Waiting for Postgres\b")
_LOOK = re.compile(r"Attempt (\d+)/\d+")
_ANSWERED = re.compile(r"✓ DB connectivity check complete")
_MIGRATING = re.compile(r"Running database migrations")
_ATTEMPT = re.compile(r"Alembic attempt (\d+)/\d+")
_APPLIED = re.compile(r"✓ Migrations applied successfully")
_SKIPPED = re.compile(r"migrations skipped", re.IGNORECASE)
_INCOMPLETE = re.compile(r"Migrations did not complete")
_STARTING = re.compile(r"Starting Uvicorn application")


def read(lines: Iterable[LogLine]) -> Boot:
    """The last boot that these lines, in order of time, tell of."""
    story = BootStory()
    for line in lines:
        story.add(line)
    return story.boot()


class BootStory:
    """Reads a boot line by line. A new banner after the application began starts a new story."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._phases: list[_Open] = []
        self._serving_since: str | None = None
        self._last = ""

    def add(self, line: LogLine) -> None:
        """Take one line; lines that are no markers change nothing."""
        if not line.text.startswith(PREFIX):
            return
        self._last = line.time
        text = line.text[len(PREFIX) :].strip()
        if _WAITING.match(text):
            # Whatever was told before belongs to a boot that ended without a word.
            self._begin()
            self._last = line.time
            self._phases.append(_Open(DATABASE, line.time))
        elif match := _LOOK.match(text):
            self._note(DATABASE, attempts=int(match[1]))
        elif _ANSWERED.match(text):
            self._close(DATABASE, line.time, "answered")
        elif _MIGRATING.match(text):
            self._close(DATABASE, line.time, "timed out")
            if self._find(MIGRATIONS) is None:
                self._phases.append(_Open(MIGRATIONS, line.time))
        elif match := _ATTEMPT.match(text):
            self._note(MIGRATIONS, attempts=int(match[1]))
        elif _APPLIED.search(text):
            self._close(MIGRATIONS, line.time, "applied")
        elif _SKIPPED.search(text):
            self._close(MIGRATIONS, line.time, "skipped")
        elif _INCOMPLETE.search(text):
            self._close(MIGRATIONS, line.time, "failed")
        elif _STARTING.match(text):
            self._close(DATABASE, line.time, "timed out")
            self._close(MIGRATIONS, line.time, "skipped")
            self._phases.append(_Open(APPLICATION, line.time))
            self._serving_since = line.time

    def boot(self, served_after: float | None = None) -> Boot:
        """What has been told so far; a phase that lasts has no outcome.

        `served_after` is for what no line tells: the seconds from the application's marker until
        it was seen to serve.
        """
        phases = [phase.frozen(self._last) for phase in self._phases]
        if served_after is not None and phases and phases[-1].name == APPLICATION:
            phases[-1] = replace(phases[-1], seconds=served_after, outcome="serving")
        return Boot(tuple(phases), self._serving_since)

    def _find(self, name: str) -> _Open | None:
        return next((p for p in self._phases if p.name == name and not p.outcome), None)

    def _note(self, name: str, attempts: int) -> None:
        if phase := self._find(name):
            phase.attempts = attempts

    def _close(self, name: str, time: str, outcome: str) -> None:
        if phase := self._find(name):
            phase.end, phase.outcome = time, outcome


class _Open:
    """A phase that is being told."""

    def __init__(self, name: str, begin: str) -> None:
        self.name, self.begin = name, begin
        self.end, self.outcome = "", ""
        self.attempts = 1 if name != MIGRATIONS else 0

    def frozen(self, last: str) -> Phase:
        seconds = _seconds(self.begin, self.end or last)
        return Phase(self.name, seconds, self.attempts, self.outcome)


def parse_time(text: str) -> datetime:
    """A log line's time as UTC; decimals past microseconds are dropped."""
    return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").astimezone(UTC)


def _seconds(begin: str, end: str) -> float:
    return max(0.0, (parse_time(end) - parse_time(begin)).total_seconds())
