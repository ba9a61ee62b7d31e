"""The lines of a log that tell why a service is in trouble. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from invoke_stack import timestamps
from invoke_stack.model import LogLine, Replica

_LATELY = timedelta(minutes=10)  # a start before that is no part of a loop
_LAST = timedelta(minutes=1)  # in which what has ended tells why

_LONGEST = 200  # characters
# The first of these that matches anything tells most; of its matches the last one counts.
_TELLING = (
    re.compile(r"^\[\w+\] Cause: (?!the same as before)(.+)"),
    re.compile(r"^ *FAILED: (.+)"),
    # What clients are told meanwhile is no cause.
    re.compile(
        r"\b(?:FATAL|PANIC)\b:? +"
        r"(?! |the database system is (?:\w+ing|not|in)\b|terminating connection).+"
    ),
    re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Exit): .+"),  # the end of a traceback
    re.compile(
        r".*\b(?:error|failed|failure|exception|cannot|denied|refused|not found|no such|invalid"
        r"|killed|unable)\b.*",
        re.IGNORECASE,
    ),
)


def cause(
    lines: Sequence[str], *, has_ended: bool = False, about: re.Pattern[str] | None = None
) -> tuple[str, ...]:
    """The line that tells the cause, as far as one does; of a service that ended, else the last.

    With `about`, only lines that it finds something in count.
    """
    lines = [line for line in lines if about is None or about.search(line)]
    for pattern in _TELLING:
        for line in reversed(lines):
            if match := pattern.search(line):
                return (_short(match[match.lastindex or 0]),)
    said = [line for line in lines if line.strip() and has_ended]
    return (_short(said[-1]),) if said else ()


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def began(replicas: Sequence[Replica], now: datetime) -> datetime | None:
    """Since when a service's lines tell of what is wrong now; None when none of it runs.

    Since its start; of one that was restarted lately, also what it said just before.
    """
    starts = [
        each.started_at - _LAST
        if each.restarts and now - each.started_at < _LATELY
        else each.started_at
        for each in replicas
        if each.running and each.started_at
    ]
    return min(starts, default=None)


def last_said(lines: Sequence[LogLine]) -> list[LogLine]:
    """The last minute of what has ended: what came before may tell of another end."""
    if not lines:
        return []
    since = timestamps.log_time(timestamps.parse(lines[-1].time) - _LAST)
    return [line for line in lines if line.time >= since]
