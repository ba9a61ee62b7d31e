"""Text of others made harmless for a terminal: no escapes, no control characters."""

from __future__ import annotations

import re

# ESC, CSI and the other C0/C1 controls, with the whole sequence where it is one; tabs stay.
_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI … final byte
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS, SOS, PM, APC … terminator
    r"|\x1b[ -/]*[0-~]?"  # other escapes
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
    r"|[\u200e\u200f\u202a-\u202e\u2066-\u2069]",  # marks that turn the direction of text
    re.DOTALL,
)


def plain(text: str) -> str:
    """A line without terminal escapes, control characters and changes of direction."""
    # Almost every line has none: look before replacing.
    return _ESCAPE.sub("", text) if not text.isprintable() else text


def plain_lines(text: str) -> str:
    """The same for a text of several lines, which keeps them."""
    return "\n".join(map(plain, text.split("\n")))
