"""Columns of text. Unlike Rich's tables, these neither pad nor shorten what they show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.text import Text

from invoke_stack.cli.screen.console import plain

_GAP = 2  # spaces between two columns


def align(headings: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> list[Text]:
    """Return the headings and rows as aligned lines, without the last columns if they do not fit.

    The first two columns are always shown, even if they are wider than `width`.
    """
    table = [
        [Text(heading, "dim") for heading in headings],
        *([plain(cell) for cell in row] for row in rows),
    ]
    widths = [max(row[column].cell_len for row in table) for column in range(len(headings))]
    while sum(widths) + _GAP * (len(widths) - 1) > width and len(widths) > 2:
        widths.pop()
    return [_line(row, widths) for row in table]


def _line(row: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for cell, width in zip(row, widths, strict=False):
        line.append_text(cell)
        line.append(" " * (width - cell.cell_len + _GAP))
    line.rstrip()
    return line


def format_duration(seconds: float) -> str:
    """Return a duration in at most two units: `45s`, `3m 12s`, `2d 4h`."""
    total = max(0, int(seconds))
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    for (unit, size), (smaller_unit, smaller_size) in itertools.pairwise(units):
        if total >= size:
            rest = total % size // smaller_size
            head = f"{total // size}{unit}"
            return f"{head} {rest}{smaller_unit}" if rest else head
    return f"{total}s"
