"""Reads supervisord's log for unexpected exits of its programs."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_EXITED = re.compile(r"exited: (\S+) \((.*)\)$")
_STOPPED = re.compile(r"(?:waiting for|stopped:) (\S+)")
_CODE = re.compile(r"exit status (\d+)")


class Events:
    """Restarts and last exit of each program, by its name."""

    def __init__(self) -> None:
        self.restarts: dict[str, int] = {}
        self.last_exit: dict[str, str] = {}
        self.exit_code: dict[str, int] = {}

    @classmethod
    def read(cls, log: Path) -> Events:
        """Return the events since each program was last stopped on request, as Docker counts."""
        events = cls()
        with suppress(FileNotFoundError):
            for line in log.read_text("utf-8", "replace").splitlines():
                events._add(line)
        return events

    def _add(self, line: str) -> None:
        if match := _EXITED.search(line):
            name, description = match.groups()
            self.restarts[name] = self.restarts.get(name, 0) + 1
            self.last_exit[name] = description.partition(";")[0]
            if code := _CODE.search(description):
                self.exit_code[name] = int(code[1])
        elif (match := _STOPPED.search(line)) or "supervisord started" in line:
            for name in [match[1]] if match else list(self.restarts):
                self.restarts.pop(name, None)
                self.last_exit.pop(name, None)
                self.exit_code.pop(name, None)
