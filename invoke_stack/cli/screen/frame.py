"""A screen that is watched: a title, what is seen, and below it that it is alive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from invoke_stack.cli.screen import grid
from invoke_stack.cli.screen.console import plain
from invoke_stack.commands.poll_state import PollState

if TYPE_CHECKING:
    from rich.console import Console

BACK_FOR = 30.0  # seconds for which it is told that what was away is back
_INDENT = "    "
SLOW = 2.0  # seconds after which a look that lasts is told of


def screen(
    console: Console,
    title: str,
    poll_state: PollState[Any],
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
    for line in _news(poll_state, now):
        top += _wrapped(plain(line), console)
    shown: list[Text] = []
    for line in body:
        shown += _wrapped(line, console)
    if poll_state.problem:  # what is shown is no longer so
        for line in shown:
            line.style = "dim"
    room = height - len(top) - 2
    if len(shown) > room:
        hidden = len(shown) - max(0, room - 1)
        shown = [*shown[: max(0, room - 1)], Text(f"… {hidden} more lines: the window is small")]
    below = [Text()] * max(1, height - len(top) - len(shown) - 1)
    lines = [*top, *shown, *below, _foot(poll_state, now, asked_at, how_to_end, width)]
    for line in lines[:height]:
        line.truncate(width)
    return lines[:height]


def _wrapped(line: Text, console: Console) -> list[Text]:
    """The line in as many as it takes, those after the first a little to the right."""
    if line.cell_len <= console.width and "\n" not in line.plain:
        return [line]
    first, *rest = line.wrap(console, max(2, console.width - len(_INDENT)))
    return [first, *(Text(_INDENT).append_text(each) for each in rest)]


def _news(poll_state: PollState[Any], now: datetime) -> list[Text]:
    if poll_state.problem and poll_state.failing_since:
        away = grid.span((now - poll_state.failing_since).total_seconds())
        told = f" out of reach since {poll_state.failing_since:%H:%M:%S} ({away}): {poll_state.problem.message}"
        lines = [Text.assemble(("✗", "red"), told)]
        if poll_state.problem.hint:
            lines.append(Text(f"  {poll_state.problem.hint}"))
        if poll_state.value_at:
            lines.append(
                Text(f"  still looking; below is what was seen at {poll_state.value_at:%H:%M:%S}")
            )
        return [*lines, Text()]
    if poll_state.recovered_at and (now - poll_state.recovered_at).total_seconds() < BACK_FOR:
        told = f" back since {poll_state.recovered_at:%H:%M:%S}, after {grid.span(poll_state.outage_seconds)}"
        return [Text.assemble(("✓", "green"), told), Text()]
    return [Text()]


def _foot(
    poll_state: PollState[Any],
    now: datetime,
    asked_at: datetime | None,
    how_to_end: str,
    width: int,
) -> Text:
    lasts = (now - asked_at).total_seconds() if asked_at else 0.0
    if lasts >= SLOW:
        told = f"looking for {grid.span(lasts)} now"
    elif poll_state.polled_at:
        told = f"looked at {poll_state.polled_at:%H:%M:%S}, every second"
    else:
        told = "looking"
    return _apart(Text(told, "dim"), Text(how_to_end, "dim"), width)


def _apart(left: Text, right: Text, width: int) -> Text:
    """Two texts at the two ends of a line; the right one only where there is room."""
    room = width - left.cell_len - right.cell_len
    return Text.assemble(left, " " * room, right) if room > 0 else left
