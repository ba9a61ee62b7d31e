"""Make foreign text safe for a terminal: no escapes, no control characters."""

from __future__ import annotations

import re

# All C0/C1 controls except tab; escape sequences as a whole.
_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI … final byte
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC … terminator
    r"|\x1b[ -/]*[0-~]?"  # other escapes
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
    r"|[\u200e\u200f\u202a-\u202e\u2066-\u2069]",  # marks that change the direction of text
    re.DOTALL,
)


def plain(text: str) -> str:
    """Return a line without escapes, control characters and changes of direction."""
    # Almost every line has none, and isprintable() is faster than the pattern.
    return _ESCAPE.sub("", text) if not text.isprintable() else text


def plain_lines(text: str) -> str:
    """Return text of several lines, each made `plain`."""
    return "\n".join(map(plain, text.split("\n")))
