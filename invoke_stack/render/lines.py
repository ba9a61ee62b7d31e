"""Log lines as they are shown. By hand: a million lines through Rich would take minutes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from invoke_stack.model import LogLine
from invoke_stack.render import palette

_SERVICE_COLOURS = ("cyan", "magenta", "blue", "green", "violet", "orange")
_SIGNS = {"✓": "green", "✗": "red", "⚠": "yellow"}
# Each alternative begins with a letter of its own kind, by which the search skips most of a line.
_LEVEL = re.compile(
    r"(?P<red>(?:CRITICAL|FATAL|PANIC|ERROR|Traceback)\b|\[(?:error|crit|alert|emerg)\])"
    r"|(?P<yellow>WARN(?:ING)?\b|\[warn\])"
)


class LinePrinter:
    """Prints log lines: with the replica's name before each when there are several.

    With `colour` it marks names, levels, lines that begin with `prefix`, and what `found` matches.
    """

    def __init__(
        self,
        services: Sequence[str],
        timestamps: bool,
        colour: bool,
        found: re.Pattern[str] | None = None,
        prefix: str = "",
    ) -> None:
        self.services = services
        self.timestamps = timestamps
        self.colour = colour
        self.found = found
        self.prefix = prefix
        self.width = max((len(name) for name in services), default=0)
        self.heads: dict[str, str] = {}  # by replica

    def text(self, line: LogLine) -> str:
        """The line as it is shown, without its end."""
        try:
            head = self.heads[line.replica]
        except KeyError:
            head = self._begin(line)
        time = f"{line.time[:23]}Z " if self.timestamps else ""
        return f"{time}{head}{self._painted(line.text) if self.colour else line.text}"

    def _begin(self, line: LogLine) -> str:
        """What stands before the lines of a replica that has not spoken yet."""
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

    def _painted(self, text: str) -> str:
        prefix = self.prefix if self.prefix and text.startswith(self.prefix) else ""
        if not (self.found or prefix or _LEVEL.search(text)):
            return text
        codes = [
            (begin, palette.code(colour), end, palette.END)
            for begin, end, colour in _spans(text, prefix)
        ]
        if self.found:
            codes += [
                (match.start(), palette.EMPHASIS, match.end(), palette.PLAIN)
                for match in self.found.finditer(text)
                if match[0]
            ]
        if not codes:
            return text
        # An end before the beginning at the same place; colour and emphasis may overlap.
        places = sorted(
            [(end, 0, off) for _, _, end, off in codes]
            + [(begin, 1, on) for begin, on, _, _ in codes]
        )
        parts, at = [], 0
        for place, _, what in places:
            parts += [text[at:place], what]
            at = place
        return "".join(parts) + text[at:]


def _spans(text: str, prefix: str) -> Iterator[tuple[int, int, str]]:
    """Yield what of a line has a colour: from, to, which. It begins with `prefix`, if any."""
    if prefix:
        begin = len(prefix)
        yield 0, begin, "cyan"
        rest = text[begin:].lstrip()
        if colour := _SIGNS.get(rest[:1]):
            yield len(text) - len(rest), len(text), colour
            return
    for match in _LEVEL.finditer(text):
        begin = match.start()
        if not text[:begin][-1:].isalnum():  # not within a word
            yield begin, match.end(), str(match.lastgroup)
