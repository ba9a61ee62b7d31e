"""Reads the collector's log files: the last lines, and new ones as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import BinaryIO

from invoke_stack.model import LogLine
from invoke_stack.runtimes.local import collector

_BLOCK = 1 << 16  # bytes
_POLL_EVERY = 0.02  # seconds


class Follower:
    """Reads one service's log, across rotations."""

    def __init__(self, folder: Path, service: str, node: str) -> None:
        self.service, self.node = service, node
        self.path = folder / f"{service}.log"
        self.file = _open(self.path)
        self.rest = b""

    def history(self, tail: int | None, since: str | None) -> list[LogLine]:
        """Return the last `tail` lines (None: all) from `since` on; `new_lines` continues there."""
        limit = None if since else tail  # `since` filters first, `tail` counts the remaining lines
        raw_lines = _last_lines(self.file, limit, since) if self.file else []
        number = 1
        while limit is None or len(raw_lines) < limit:
            if since and raw_lines and raw_lines[0][: len(since)] < since.encode():
                break  # older files hold only older lines
            older = _open(collector.rotated_path(self.path, number))
            if older is None:
                break
            with older:
                remaining = None if limit is None else limit - len(raw_lines)
                raw_lines = _last_lines(older, remaining, since) + raw_lines
            number += 1
        lines = [line for raw in raw_lines if (line := self._parse(raw))]
        if since:
            lines = [line for line in lines if line.time >= since]
        return lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]

    def new_lines(self) -> list[LogLine]:
        """Return the lines that were added since the last call."""
        if self.file is None:
            self.file = _open(self.path)
        if self.file is None:
            return []
        data = self.rest + self.file.read()
        for newer in self._newer_files(self.file):
            # Read again: the old file may have grown between the read and the rotation.
            data += self.file.read()
            self.file.close()
            self.file = newer
            data += newer.read()
        *raw_lines, self.rest = data.split(b"\n")
        return [line for raw in raw_lines if (line := self._parse(raw))]

    def _newer_files(self, file: BinaryIO) -> list[BinaryIO]:
        """Return the files that were started after this one, oldest first; usually none."""
        current = os.fstat(file.fileno())
        if _is_same_file(self.path, current):
            return []
        newer: list[BinaryIO] = []
        for number in range(collector.MAX_FILES):
            path = self.path if number == 0 else collector.rotated_path(self.path, number)
            other = _open(path)
            if other is None or os.path.samestat(os.fstat(other.fileno()), current):
                break
            # A rotation between two of these steps shows one file under two names.
            if newer and os.path.sameopenfile(newer[-1].fileno(), other.fileno()):
                continue
            newer.append(other)
        return newer[::-1]

    def _parse(self, raw: bytes) -> LogLine | None:
        timestamp, _, rest = raw.decode("utf-8", "replace").partition(" ")
        stream, _, text = rest.partition(" ")
        if not timestamp.endswith("Z"):
            return None
        return LogLine(timestamp, self.service, self.service, self.node, stream, text)


def history(
    followers: Sequence[Follower], *, tail: int | None, since: str | None
) -> Iterator[LogLine]:
    """Yield the lines up to now in order of time; see `Runtime.history`."""
    lines = list(merge(*(follower.history(tail, since) for follower in followers), key=_time))
    yield from lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]


def follow(
    followers: Sequence[Follower], *, tail: int | None, since: str | None
) -> Iterator[LogLine | None]:
    """Yield the lines up to now, then new ones; see `Runtime.follow`."""
    yield from history(followers, tail=tail, since=since)
    while True:
        yield None
        batches = [follower.new_lines() for follower in followers]
        if any(batches):
            yield from merge(*batches, key=_time)
        else:
            time.sleep(_POLL_EVERY)


def _time(line: LogLine) -> str:
    return line.time


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is_same_file(path: Path, stat: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), stat)
    except FileNotFoundError:
        return True  # in the middle of a rotation; the next poll finds the new file


def _last_lines(file: BinaryIO, limit: int | None, since: str | None) -> list[bytes]:
    """Return the last whole lines, and leave the file position after them.

    Reads backwards in growing steps, so that the last lines of a long file cost no more than those
    of a short one. With `since`, returns all lines from then on and a few older ones.
    """
    end = start = file.seek(0, os.SEEK_END)
    data, span = b"", _BLOCK
    first = _offset_before(file, since.encode(), end) if since else 0
    while start > first and (limit is None or data.count(b"\n") <= limit):
        start = first if limit is None else max(0, end - span)
        file.seek(start)
        data = file.read(end - start)
        span *= 4
    size = data.rfind(b"\n") + 1
    file.seek(start + size)
    lines = data[:size].split(b"\n")[:-1]
    if start and limit is None:
        lines = lines[1:]  # the first one is incomplete
    return lines if limit is None else lines[len(lines) - min(limit, len(lines)) :]


def _offset_before(file: BinaryIO, since: bytes, end: int) -> int:
    """Return an offset at most a few blocks before the first line from `since` on."""
    low, high = 0, end
    while high - low > _BLOCK:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()  # the rest of a line
        line = file.readline()
        if line and line[: len(since)] < since:
            low = middle
        else:
            high = middle
    return max(0, low - _BLOCK)
