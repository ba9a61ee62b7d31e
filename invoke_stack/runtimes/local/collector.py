"""The log collector: writes the output of every service to log files, with the time of each line.

Runs as a process of its own, as `dockerd` does for containers:
`python -m invoke_stack.runtimes.local.collector PIPES LOGS`. Services write to named pipes that
they also hold open for reading, so a killed collector loses nothing: output waits in the pipe for
the next one. Imports the standard library only, so that it starts at once and cannot fail.
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
MAX_LINE = 64 * 1024  # bytes; a longer line is split


class Journal:
    """One service's log: lines of `time stream text`, rotated by size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self.file = self.path.open("ab", buffering=0)
        self.size = self.file.tell()

    def write(self, lines: bytes) -> None:
        """Append whole lines. If the disk is full they are dropped, so that the service goes on."""
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
                older = self.path if number == 1 else rotated_path(self.path, number - 1)
                if older.exists():
                    older.replace(rotated_path(self.path, number))
        finally:
            self._open()


def rotated_path(path: Path, number: int) -> Path:
    """Return the path of a log file after `number` rotations."""
    return path.with_name(f"{path.name}.{number}")


class Pipe:
    """One output stream of one service; `rest` is the unfinished last line."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self.journal = journal
        self.stream = path.suffix[1:].encode()
        # Open for writing as well, so that the pipe has no end of file when the service exits.
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.rest = b""

    def read(self, timestamp: bytes) -> bool:
        """Write pending output to the journal; return False if there was none."""
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
            prefix = timestamp + b" " + self.stream + b" "
            self.journal.write(b"".join(prefix + line + b"\n" for line in lines))
        return bool(data)

    def finish(self, timestamp: bytes) -> None:
        """Write a last line without a newline to the journal."""
        if self.rest:
            self.journal.write(timestamp + b" " + self.stream + b" " + self.rest + b"\n")


class Clock:
    """Timestamps that never go back, so that lines in file order are also in order of time."""

    def __init__(self) -> None:
        self.last = 0

    def stamp(self) -> bytes:
        """Return the current time in RFC 3339, in UTC with nine decimals."""
        self.last = max(self.last, time.time_ns())
        seconds, nanoseconds = divmod(self.last, 1_000_000_000)
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{whole}.{nanoseconds:09d}Z".encode()


def collect(pipes: Path, logs: Path, stop_fd: int) -> None:
    """Read all pipes until `stop_fd` is readable, then write out what is still in them."""
    journals: dict[str, Journal] = {}
    selector = selectors.DefaultSelector()
    for path in sorted(pipes.iterdir()):
        journal = journals.setdefault(path.stem, Journal(logs / f"{path.stem}.log"))
        pipe = Pipe(path, journal)
        selector.register(pipe.fd, selectors.EVENT_READ, pipe)
    clock = Clock()
    all_pipes = [key.data for key in selector.get_map().values()]
    selector.register(stop_fd, selectors.EVENT_READ)
    ready = [key.data for key, _ in selector.select()]
    while None not in ready:
        for pipe in ready:
            pipe.read(clock.stamp())
        ready = [key.data for key, _ in selector.select()]
    for pipe in all_pipes:
        while pipe.read(clock.stamp()):
            pass
        pipe.finish(clock.stamp())


if __name__ == "__main__":
    # A pipe, because an exception from the signal handler could lose output between read and write.
    stop_reader, stop_writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(stop_writer, b"."))
    collect(Path(sys.argv[1]), Path(sys.argv[2]), stop_reader)
