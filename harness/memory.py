"""Measure the peak memory of a command, in KiB.

    python -S memory.py RECORD COMMAND...     run COMMAND, write its peak memory to RECORD

`ru_maxrss` of a process starts at the size of its parent. This small process is the parent here, as
pytest is far too large.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def measured_command(record: os.PathLike[str], command: Sequence[str]) -> list[str]:
    """Wrap a command so that its peak memory is written to `record`; its exit code stays."""
    return [sys.executable, "-S", "-E", __file__, str(record), *command]


def main(record: str, command: Sequence[str]) -> int:
    """Run a command, record its peak memory and return its exit code."""
    pid = os.fork()
    if pid == 0:
        os.execvp(command[0], command)
    _, status, usage = os.wait4(pid, 0)
    with open(record, "w", encoding="ascii") as file:  # noqa: PTH123  pathlib needs memory, too
        file.write(str(usage.ru_maxrss))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
