"""The colours: readable on a light background as on a dark one.

They are of the 256 that no terminal's theme changes, each neither light nor dark, so that its
contrast with white and with black is at least 3 to 1. No colour is ever the only sign of anything.
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
"""For Rich: what `[green]` and the others mean in its markup."""


def code(colour: str) -> str:
    """What switches a terminal to a colour; `END` switches back."""
    return f"\x1b[38;5;{COLOURS[colour]}m"


END = "\x1b[39m"
EMPHASIS, PLAIN = "\x1b[1;4m", "\x1b[22;24m"  # bold and underlined, inside any colour
