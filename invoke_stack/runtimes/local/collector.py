"""The log collector: reads what every service writes and files it with the time of each line.

A process of its own, as `dockerd` is for containers: `python -m invoke_stack.runtimes.local.collector PIPES
LOGS`. Services write into named pipes that they hold open for reading as well, so a collector that
was killed loses nothing: what is written meanwhile waits in the pipe for its successor.
Standard library only, and nothing of ours is imported: it must start at once and never fail.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from pathlib import Path

MAX_BYTES = 10_000_000  # of one file, as in docker-compose.yml's log rotation
MAX_FILES = 3
MAX_LINE = 64 * 1024  # bytes; a longer line is filed in parts


class Journal:
    """One service's log: `time stream text` lines, rotated by size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self.file = self.path.open("ab", buffering=0)
        self.size = self.file.tell()

    def write(self, lines: bytes) -> None:
        """Append whole lines. A full disk loses them, rather than the service."""
        try:
            if self.size > MAX_BYTES:
                self._rotate()
            self.file.write(lines)
            self.size += len(lines)
        except OSError as error:
            print(f"cannot write {self.path}: {error}", file=sys.stderr)

    def _rotate(self) -> None:
        self.file.close()
        try:
            for number in range(MAX_FILES - 1, 0, -1):
                older = self.path if number == 1 else numbered(self.path, number - 1)
                if older.exists():
                    older.replace(numbered(self.path, number))
        finally:
            self._open()


def numbered(path: Path, number: int) -> Path:
    """The name of a file that was rotated `number` times."""
    return path.with_name(f"{path.name}.{number}")


class Pipe:
    """One stream of one service; `rest` is the line that has not ended yet."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self.journal = journal
        self.stream = path.suffix[1:].encode()
        # Open for writing as well, so that the end of a service is not the end of the pipe.
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.rest = b""

    def read(self, stamp: bytes) -> bool:
        """File what is there; False when there was nothing."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return False
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        if len(self.rest) > MAX_LINE:
            lines.append(self.rest)
            self.rest = b""
        if lines:
            head = stamp + b" " + self.stream + b" "
            self.journal.write(b"".join(head + line + b"\n" for line in lines))
        return bool(data)

    def finish(self, stamp: bytes) -> None:
        """File a last line that nobody ended."""
        if self.rest:
            self.journal.write(stamp + b" " + self.stream + b" " + self.rest + b"\n")


class Clock:
    """Time stamps that never go back, so that the order of the file is the order of time."""

    def __init__(self) -> None:
        self.last = 0

    def stamp(self) -> bytes:
        self.last = max(self.last, time.time_ns())
        seconds, nanos = divmod(self.last, 1_000_000_000)
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{whole}.{nanos:09d}Z".encode()


def collect(pipes: Path, logs: Path, end: int) -> None:
    """Read all pipes until there is something to read at `end`, then file what is left in them."""
    journals: dict[str, Journal] = {}
    selector = selectors.DefaultSelector()
    for path in sorted(pipes.iterdir()):
        journal = journals.setdefault(path.stem, Journal(logs / f"{path.stem}.log"))
        pipe = Pipe(path, journal)
        selector.register(pipe.fd, selectors.EVENT_READ, pipe)
    clock = Clock()
    every = [key.data for key in selector.get_map().values()]
    selector.register(end, selectors.EVENT_READ)
    ready = [key.data for key, _ in selector.select()]
    while None not in ready:
        for pipe in ready:
            pipe.read(clock.stamp())
        ready = [key.data for key, _ in selector.select()]
    for pipe in every:
        while pipe.read(clock.stamp()):
            pass
        pipe.finish(clock.stamp())


if __name__ == "__main__":
    # An exception between reading and filing would lose what was read.
    told, tell = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(tell, b"."))
    collect(Path(sys.argv[1]), Path(sys.argv[2]), told)
