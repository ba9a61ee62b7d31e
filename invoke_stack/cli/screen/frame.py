"""Lays out one frame of `--watch`: title, problems, body, and a status line at the bottom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from invoke_stack.cli.screen.columns import format_duration
from invoke_stack.cli.screen.console import plain
from invoke_stack.commands.poll_state import PollState

if TYPE_CHECKING:
    from rich.console import Console

RECOVERY_NOTICE = 30.0  # seconds to show that the stack can be reached again
SLOW_POLL = 2.0  # seconds after which the status line shows how long a poll has taken
_INDENT = "    "  # before the wrapped part of a line


def frame_lines(
    console: Console,
    title: str,
    poll_state: PollState[Any],
    body: Sequence[Text],
    *,
    now: datetime,
    polling_since: datetime | None,
    quit_hint: str,
) -> list[Text]:
    """Return the lines of a frame that fills the console, cut to its width and height.

    `polling_since` is the start of the in-flight poll, None between two polls.
    """
    width, height = console.size
    top = [_spread(plain(Text(title, "bold")), Text(f"{now:%H:%M:%S} UTC"), width)]
    for line in _problem_lines(poll_state, now):
        top += _wrap(plain(line), console)
    content: list[Text] = []
    for line in body:
        content += _wrap(line, console)
    if poll_state.problem:  # the body is out of date
        for line in content:
            line.style = "dim"
    room = height - len(top) - 2
    if len(content) > room:
        visible = max(0, room - 1)
        hidden = len(content) - visible
        content = [*content[:visible], Text(f"… {hidden} more lines: enlarge the window")]
    filler = [Text()] * max(1, height - len(top) - len(content) - 1)
    lines = [*top, *content, *filler, _footer(poll_state, now, polling_since, quit_hint, width)]
    for line in lines[:height]:
        line.truncate(width)
    return lines[:height]


def _wrap(line: Text, console: Console) -> list[Text]:
    """Return the line wrapped to the console's width, with the wrapped part indented."""
    if line.cell_len <= console.width and "\n" not in line.plain:
        return [line]
    first, *rest = line.wrap(console, max(2, console.width - len(_INDENT)))
    return [first, *(Text(_INDENT).append_text(part) for part in rest)]


def _problem_lines(poll_state: PollState[Any], now: datetime) -> list[Text]:
    if poll_state.problem and poll_state.failing_since:
        duration = format_duration((now - poll_state.failing_since).total_seconds())
        since = f"{poll_state.failing_since:%H:%M:%S} ({duration})"
        summary = f" unreachable since {since}: {poll_state.problem.message}"
        lines = [Text.assemble(("✗", "red"), summary)]
        if poll_state.problem.hint:
            lines.append(Text(f"  {poll_state.problem.hint}"))
        if poll_state.value_at:
            lines.append(Text(f"  retrying; below is the state of {poll_state.value_at:%H:%M:%S}"))
        return [*lines, Text()]
    recovered_at = poll_state.recovered_at
    if recovered_at and (now - recovered_at).total_seconds() < RECOVERY_NOTICE:
        outage = format_duration(poll_state.outage_seconds)
        return [
            Text.assemble(("✓", "green"), f" recovered at {recovered_at:%H:%M:%S} after {outage}"),
            Text(),
        ]
    return [Text()]


def _footer(
    poll_state: PollState[Any],
    now: datetime,
    polling_since: datetime | None,
    quit_hint: str,
    width: int,
) -> Text:
    elapsed = (now - polling_since).total_seconds() if polling_since else 0.0
    if elapsed >= SLOW_POLL:
        progress = f"polling for {format_duration(elapsed)}"
    elif poll_state.polled_at:
        progress = f"polled at {poll_state.polled_at:%H:%M:%S}, every second"
    else:
        progress = "polling"
    return _spread(Text(progress, "dim"), Text(quit_hint, "dim"), width)


def _spread(start: Text, end: Text, width: int) -> Text:
    """Return a line with a text at either end, or only the first if both do not fit."""
    room = width - start.cell_len - end.cell_len
    return Text.assemble(start, " " * room, end) if room > 0 else start
