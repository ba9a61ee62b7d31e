"""The lines of a log that tell why a service is in trouble. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LONGEST = 200  # characters
# The first of these that matches anything tells most; of its matches the last one counts.
_TELLING = (
    re.compile(r"^\[entrypoint\] Cause: (?!the same as before)(.+)"),
    re.compile(r"^ *FAILED: (.+)"),
    re.compile(r"\b(?:FATAL|PANIC)\b:? .+"),
    re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Exit): .+"),  # the end of a traceback
    re.compile(
        r".*\b(?:error|failed|failure|exception|cannot|denied|refused|not found|no such|invalid"
        r"|killed|unable)\b.*",
        re.IGNORECASE,
    ),
)


def cause(lines: Sequence[str], *, has_ended: bool = False) -> tuple[str, ...]:
    """The line that tells the cause, as far as one does; of a service that ended, else the last."""
    for pattern in _TELLING:
        for line in reversed(lines):
            if match := pattern.search(line):
                return (_short(match[match.lastindex or 0]),)
    said = [line for line in lines if line.strip() and has_ended]
    return (_short(said[-1]),) if said else ()


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
