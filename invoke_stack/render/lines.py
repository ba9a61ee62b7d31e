"""Render log lines as text. Without Rich, which would take minutes for a million lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from invoke_stack.model import LogLine
from invoke_stack.render import palette

_SERVICE_COLOURS = ("cyan", "magenta", "blue", "green", "violet", "orange")
_SIGNS = {"✓": "green", "✗": "red", "⚠": "yellow"}
# The alternatives begin with literal characters, so that the search skips most of a line.
_LEVEL = re.compile(
    r"(?P<red>(?:CRITICAL|FATAL|PANIC|ERROR|Traceback)\b|\[(?:error|crit|alert|emerg)\])"
    r"|(?P<yellow>WARN(?:ING)?\b|\[warn\])"
)


class LinePrinter:
    """Renders log lines, with the replica's name before each if there are several.

    With `colour`, it marks names, levels, lines that begin with `prefix`, and matches of
    `highlight`.
    """

    def __init__(
        self,
        services: Sequence[str],
        timestamps: bool,
        colour: bool,
        highlight: re.Pattern[str] | None = None,
        prefix: str = "",
    ) -> None:
        self.services = services
        self.timestamps = timestamps
        self.colour = colour
        self.highlight = highlight
        self.prefix = prefix
        self.width = max((len(name) for name in services), default=0)
        self.heads: dict[str, str] = {}  # by replica

    def text(self, line: LogLine) -> str:
        """Return the rendered line, without a newline."""
        try:
            head = self.heads[line.replica]
        except KeyError:
            head = self._new_head(line)
        time = f"{line.time[:23]}Z " if self.timestamps else ""
        return f"{time}{head}{self._coloured(line.text) if self.colour else line.text}"

    def _new_head(self, line: LogLine) -> str:
        """Return and store the text before the lines of a new replica."""
        head = ""
        if len(self.services) > 1 or line.replica != line.service:
            self.width = max(self.width, len(line.replica))
            head = f"{line.replica:<{self.width}} | "
            if self.colour:
                head = f"{palette.code(self._colour(line.service))}{head}{palette.END}"
        self.heads[line.replica] = head
        return head

    def _colour(self, service: str) -> str:
        number = self.services.index(service) if service in self.services else 0
        return _SERVICE_COLOURS[number % len(_SERVICE_COLOURS)]

    def _coloured(self, text: str) -> str:
        prefix = self.prefix if self.prefix and text.startswith(self.prefix) else ""
        if not (self.highlight or prefix or _LEVEL.search(text)):
            return text
        codes = [
            (begin, palette.code(colour), end, palette.END)
            for begin, end, colour in _spans(text, prefix)
        ]
        if self.highlight:
            codes += [
                (match.start(), palette.EMPHASIS, match.end(), palette.PLAIN)
                for match in self.highlight.finditer(text)
                if match[0]
            ]
        if not codes:
            return text
        # At one position, ends come before beginnings; colour and emphasis may overlap.
        switches = sorted(
            [(end, 0, off) for _, _, end, off in codes]
            + [(begin, 1, on) for begin, on, _, _ in codes]
        )
        parts, position = [], 0
        for next_position, _, escape in switches:
            parts += [text[position:next_position], escape]
            position = next_position
        return "".join(parts) + text[position:]


def _spans(text: str, prefix: str) -> Iterator[tuple[int, int, str]]:
    """Yield the coloured parts of a line that begins with `prefix`: begin, end, colour."""
    if prefix:
        begin = len(prefix)
        yield 0, begin, "cyan"
        rest = text[begin:].lstrip()
        if colour := _SIGNS.get(rest[:1]):
            yield len(text) - len(rest), len(text), colour
            return
    for match in _LEVEL.finditer(text):
        begin = match.start()
        if not text[:begin][-1:].isalnum():  # not inside a word
            yield begin, match.end(), str(match.lastgroup)
