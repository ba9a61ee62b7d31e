"""Log lines as they are shown. By hand: a million lines through Rich would take minutes."""

from __future__ import annotations

from collections.abc import Sequence

from ops.model import LogLine

_SERVICE_COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan")


class LinePrinter:
    """Prints log lines, with the service's name before each when there are several services."""

    def __init__(self, services: Sequence[str], timestamps: bool, colour: bool) -> None:
        self.timestamps = timestamps
        width = max((len(name) for name in services), default=0)
        self.heads = {}
        for index, name in enumerate(services):
            head = f"{name:<{width}} | " if len(services) > 1 else ""
            if colour and head:
                head = _paint(head, _SERVICE_COLOURS[index % len(_SERVICE_COLOURS)])
            self.heads[name] = head
        self.colour = colour

    def text(self, line: LogLine) -> str:
        """The line as it is shown, without its end."""
        time = f"{line.time[:23]}Z " if self.timestamps else ""
        text = line.text
        if self.colour and text.startswith("[entrypoint]"):
            text = _paint("[entrypoint]", "cyan") + text[len("[entrypoint]") :]
        return f"{time}{self.heads.get(line.service, '')}{text}"


_CODES = {"cyan": 36, "green": 32, "magenta": 35, "blue": 34, "yellow": 33, "bright_cyan": 96}


def _paint(text: str, colour: str) -> str:
    # By hand: a million lines through rich would take minutes.
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
