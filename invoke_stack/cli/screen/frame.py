"""A screen that is watched: a title, what is seen, and below it that it is alive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from invoke_stack.cli.screen import grid
from invoke_stack.cli.screen.console import plain
from invoke_stack.commands.sight import Sight

if TYPE_CHECKING:
    from rich.console import Console

BACK_FOR = 30.0  # seconds for which it is told that what was away is back
_INDENT = "    "
SLOW = 2.0  # seconds after which a look that lasts is told of


def screen(
    console: Console,
    title: str,
    sight: Sight[Any],
    body: Sequence[Text],
    *,
    now: datetime,
    asked_at: datetime | None,
    how_to_end: str,
) -> list[Text]:
    """As many lines as the console is high, none of them wider than it is.

    `asked_at` is when the look began that is under way; None between two looks.
    """
    width, height = console.size
    top = [_apart(plain(Text(title, "bold")), Text(f"{now:%H:%M:%S} UTC"), width)]
    for line in _news(sight, now):
        top += _wrapped(plain(line), console)
    shown: list[Text] = []
    for line in body:
        shown += _wrapped(line, console)
    if sight.problem:  # what is shown is no longer so
        for line in shown:
            line.style = "dim"
    room = height - len(top) - 2
    if len(shown) > room:
        hidden = len(shown) - max(0, room - 1)
        shown = [*shown[: max(0, room - 1)], Text(f"… {hidden} more lines: the window is small")]
    below = [Text()] * max(1, height - len(top) - len(shown) - 1)
    lines = [*top, *shown, *below, _foot(sight, now, asked_at, how_to_end, width)]
    for line in lines[:height]:
        line.truncate(width)
    return lines[:height]


def _wrapped(line: Text, console: Console) -> list[Text]:
    """The line in as many as it takes, those after the first a little to the right."""
    if line.cell_len <= console.width and "\n" not in line.plain:
        return [line]
    first, *rest = line.wrap(console, max(2, console.width - len(_INDENT)))
    return [first, *(Text(_INDENT).append_text(each) for each in rest)]


def _news(sight: Sight[Any], now: datetime) -> list[Text]:
    if sight.problem and sight.away_since:
        away = grid.span((now - sight.away_since).total_seconds())
        told = f" out of reach since {sight.away_since:%H:%M:%S} ({away}): {sight.problem.message}"
        lines = [Text.assemble(("✗", "red"), told)]
        if sight.problem.hint:
            lines.append(Text(f"  {sight.problem.hint}"))
        if sight.seen_at:
            lines.append(
                Text(f"  still looking; below is what was seen at {sight.seen_at:%H:%M:%S}")
            )
        return [*lines, Text()]
    if sight.back_at and (now - sight.back_at).total_seconds() < BACK_FOR:
        told = f" back since {sight.back_at:%H:%M:%S}, after {grid.span(sight.away_for)}"
        return [Text.assemble(("✓", "green"), told), Text()]
    return [Text()]


def _foot(
    sight: Sight[Any], now: datetime, asked_at: datetime | None, how_to_end: str, width: int
) -> Text:
    lasts = (now - asked_at).total_seconds() if asked_at else 0.0
    if lasts >= SLOW:
        told = f"looking for {grid.span(lasts)} now"
    elif sight.looked_at:
        told = f"looked at {sight.looked_at:%H:%M:%S}, every second"
    else:
        told = "looking"
    return _apart(Text(told, "dim"), Text(how_to_end, "dim"), width)


def _apart(left: Text, right: Text, width: int) -> Text:
    """Two texts at the two ends of a line; the right one only where there is room."""
    room = width - left.cell_len - right.cell_len
    return Text.assemble(left, " " * room, right) if room > 0 else left
