"""Reads the collector's files: the last lines, and what comes after them."""

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


class Follower:
    """Reads one service's log from its beginning or its last lines on, across rotations."""

    def __init__(self, folder: Path, service: str, node: str) -> None:
        self.service, self.node = service, node
        self.path = folder / f"{service}.log"
        self.file = _open(self.path)
        self.rest = b""

    def history(self, tail: int | None, since: str | None) -> list[LogLine]:
        """The last `tail` lines (None: all) from `since` on. What comes later is for `news`."""
        wanted = None if since else tail  # `since` filters first, `tail` counts what is left
        found = _last_lines(self.file, wanted, since) if self.file else []
        number = 1
        while wanted is None or len(found) < wanted:
            if since and found and found[0][: len(since)] < since.encode():
                break  # what is older is too old
            older = _open(collector.numbered(self.path, number))
            if older is None:
                break
            with older:
                left = None if wanted is None else wanted - len(found)
                found = _last_lines(older, left, since) + found
            number += 1
        lines = [line for raw in found if (line := self._line(raw))]
        if since:
            lines = [line for line in lines if line.time >= since]
        return lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]

    def news(self) -> list[LogLine]:
        """The lines that were added since the last look."""
        if self.file is None:
            self.file = _open(self.path)
        if self.file is None:
            return []
        data = self.rest + self.file.read()
        for newer in self._newer(self.file):
            # Read again: ours may have grown between the read and the rotation.
            data += self.file.read()
            self.file.close()
            self.file = newer
            data += newer.read()
        *raws, self.rest = data.split(b"\n")
        return [line for raw in raws if (line := self._line(raw))]

    def _newer(self, file: BinaryIO) -> list[BinaryIO]:
        """The files that have taken the place of this one, the oldest first; usually none."""
        ours = os.fstat(file.fileno())
        if _is(self.path, ours):
            return []
        found: list[BinaryIO] = []
        for number in range(collector.MAX_FILES):
            other = _open(self.path if number == 0 else collector.numbered(self.path, number))
            if other is None or os.path.samestat(os.fstat(other.fileno()), ours):
                break
            # A rotation between two of these looks shows one file under two names.
            if found and os.path.sameopenfile(found[-1].fileno(), other.fileno()):
                continue
            found.append(other)
        return found[::-1]

    def _line(self, raw: bytes) -> LogLine | None:
        stamp, _, rest = raw.decode("utf-8", "replace").partition(" ")
        stream, _, text = rest.partition(" ")
        if not stamp.endswith("Z"):
            return None
        return LogLine(stamp, self.service, self.service, self.node, stream, text)


def history(
    followers: Sequence[Follower], *, tail: int | None, since: str | None
) -> Iterator[LogLine]:
    """Yield the lines up to now in order of time; see `Runtime.history`."""
    lines = list(merge(*(each.history(tail, since) for each in followers), key=_time))
    yield from lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]


def follow(
    followers: Sequence[Follower], *, tail: int | None, since: str | None
) -> Iterator[LogLine | None]:
    """Yield those lines, and then new ones; see `Runtime.follow`."""
    yield from history(followers, tail=tail, since=since)
    while True:
        yield None
        fresh = [each.news() for each in followers]
        if any(fresh):
            yield from merge(*fresh, key=_time)
        else:
            time.sleep(0.02)


def _time(line: LogLine) -> str:
    return line.time


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _is(path: Path, stat: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), stat)
    except FileNotFoundError:
        return True  # in the middle of a rotation: look again next time


def _last_lines(file: BinaryIO, wanted: int | None, since: str | None) -> list[bytes]:
    """The last whole lines; leaves the file's position behind them.

    Reads backwards in growing steps, so that the last lines of a long file cost no more than those
    of a short one. With `since` all that are not older, and a few that are.
    """
    end = begin = file.seek(0, os.SEEK_END)
    data, span = b"", _BLOCK
    first = _before(file, since.encode(), end) if since else 0
    while begin > first and (wanted is None or data.count(b"\n") <= wanted):
        begin = first if wanted is None else max(0, end - span)
        file.seek(begin)
        data = file.read(end - begin)
        span *= 4
    cut = data.rfind(b"\n") + 1
    file.seek(begin + cut)
    lines = data[:cut].split(b"\n")[:-1]
    if begin and wanted is None:
        lines = lines[1:]  # only the rest of it
    return lines if wanted is None else lines[len(lines) - min(wanted, len(lines)) :]


def _before(file: BinaryIO, since: bytes, end: int) -> int:
    """A place in the file before the first line of that time or later: a few blocks at most."""
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
