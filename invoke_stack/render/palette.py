"""Colours that are readable on light and on dark backgrounds.

They belong to the 256 colours that terminal themes do not change. The contrast of each with white
and with black is at least 3 to 1. No information is carried by colour alone.
"""

from __future__ import annotations

COLOURS = {
    "green": 28,
    "red": 160,
    "yellow": 136,
    "cyan": 30,
    "blue": 32,
    "magenta": 133,
    "violet": 98,
    "orange": 166,
}

THEME = {name: f"color({number})" for name, number in COLOURS.items()}
"""The colour names in Rich's markup, such as `[green]`."""


def code(colour: str) -> str:
    """Return the escape sequence that starts a colour; `END` ends it."""
    return f"\x1b[38;5;{COLOURS[colour]}m"


END = "\x1b[39m"
EMPHASIS, PLAIN = "\x1b[1;4m", "\x1b[22;24m"  # bold and underlined, inside any colour
