"""Find the log lines that explain why a service is unhealthy or was restarted. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from invoke_stack import timestamps
from invoke_stack.model import LogLine, Replica

_RECENT = timedelta(minutes=10)  # an earlier start is not part of a restart loop
_LAST_LINES = timedelta(minutes=1)  # the time before an exit in which lines explain it

_MAX_LENGTH = 200  # characters
# The first pattern with a match wins; of its matches, the last one.
_PATTERNS = (
    re.compile(r"^\[\w+\] Cause: (?!the same as before)(.+)"),
    re.compile(r"^ *FAILED: (.+)"),
    # Not what PostgreSQL logs for each client that it turns away meanwhile.
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


def find_cause(
    lines: Sequence[str], *, has_ended: bool = False, about: re.Pattern[str] | None = None
) -> tuple[str, ...]:
    """Return the line that explains the problem, or nothing.

    If no line does, and the service `has_ended`, return its last line. With `about`, only lines
    that match it count.
    """
    lines = [line for line in lines if about is None or about.search(line)]
    for pattern in _PATTERNS:
        for line in reversed(lines):
            if match := pattern.search(line):
                return (_shorten(match[match.lastindex or 0]),)
    last_lines = [line for line in lines if line.strip() and has_ended]
    return (_shorten(last_lines[-1]),) if last_lines else ()


def _shorten(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def relevant_since(replicas: Sequence[Replica], now: datetime) -> datetime | None:
    """Return from when on a service's lines are about its present problem; None if it is down.

    That is its start, or shortly before it if the service was restarted recently.
    """
    starts = [
        replica.started_at - _LAST_LINES
        if replica.restarts and now - replica.started_at < _RECENT
        else replica.started_at
        for replica in replicas
        if replica.running and replica.started_at
    ]
    return min(starts, default=None)


def last_minute(lines: Sequence[LogLine]) -> list[LogLine]:
    """Return the last minute of lines: earlier ones may be about another exit."""
    if not lines:
        return []
    since = timestamps.log_time(timestamps.parse(lines[-1].time) - _LAST_LINES)
    return [line for line in lines if line.time >= since]
