"""Times as text: RFC 3339 in UTC, ending in Z.

Times of log lines have nine decimals, so that they sort as text.
"""

from __future__ import annotations

from datetime import UTC, datetime


def parse(text: str) -> datetime:
    """Return the time of an RFC 3339 text, in UTC; digits past microseconds are dropped.

    Raises `ValueError`.
    """
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def log_time(moment: datetime) -> str:
    """Return a time as in `LogLine.time`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def nine_decimals(text: str) -> str:
    """Return an RFC 3339 text in UTC with the trailing zeros that Docker sometimes omits."""
    if len(text) == 30:
        return text
    whole, _, decimals = text.rstrip("Z").partition(".")
    return f"{whole}.{decimals.ljust(9, '0')}Z"


def json_time(moment: datetime) -> str:
    """Return a time for JSON output, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
