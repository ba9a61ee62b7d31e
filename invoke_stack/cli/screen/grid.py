"""Columns of text: narrow ones, and none cut off. Rich's own tables pad and shorten what they show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.text import Text

from invoke_stack.cli.screen.console import plain

_GAP = 2  # blanks between two columns


def lines(heads: Sequence[str], rows: Sequence[Sequence[Text]], width: int) -> list[Text]:
    """The rows below their heads, in as many columns as fit into `width`; the first ones stay."""
    table = [
        [Text(head, "dim") for head in heads],
        *([plain(cell) for cell in row] for row in rows),
    ]
    widths = [max(row[column].cell_len for row in table) for column in range(len(heads))]
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


def span(seconds: float) -> str:
    """A duration for people, in two units at most: `45s`, `3m 12s`, `2d 4h`."""
    left = max(0, int(seconds))
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    for (unit, size), (lower, below) in itertools.pairwise(units):
        if left >= size:
            rest = left % size // below
            return f"{left // size}{unit} {rest}{lower}" if rest else f"{left // size}{unit}"
    return f"{left}s"
