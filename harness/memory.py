"""The most memory that a command takes, in KiB.

    python -S memory.py RECORD COMMAND...     run it, write the figure into a file

The system's own figure for a process (`ru_maxrss`) begins with what the process that started it held, so
a large one, as pytest is, would be measured with it. A small one of its own starts the command here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def measured_command(record: os.PathLike[str], words: Sequence[str]) -> list[str]:
    """The command that runs these words, with their exit code, and writes their figure."""
    return [sys.executable, "-S", "-E", __file__, str(record), *words]


def main(record: str, words: Sequence[str]) -> int:
    pid = os.fork()
    if pid == 0:
        os.execvp(words[0], words)
    _, status, usage = os.wait4(pid, 0)
    with open(record, "w", encoding="ascii") as file:  # noqa: PTH123  pathlib takes memory, too
        file.write(str(usage.ru_maxrss))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
