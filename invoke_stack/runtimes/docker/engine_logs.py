"""Container logs from the engine: the lines of several containers, in order, across restarts.

Those that are followed have a thread each. The queues are bounded, so memory does not grow with the
length of the logs.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING

from invoke_stack.errors import OutOfReach
from invoke_stack.model import LogLine
from invoke_stack.runtimes.base import Say
from invoke_stack.runtimes.docker.engine_stream import Source, read

if TYPE_CHECKING:
    from docker import APIClient

_WAITING = 8  # batches of lines of one container that may wait to be shown
_TICK = 0.02  # seconds
_LOOK_EVERY = 0.5  # seconds between two looks for containers that are new or run again
_MARGIN = 100  # lines among which the engine's order and that of time may differ


def history(
    client: APIClient, sources: Sequence[Source], *, tail: int | None, since: str | None
) -> Iterator[LogLine]:
    """The lines up to now, merged by time; `tail` counts over all of them together."""
    if tail == 0:
        return
    merged = _merged(client, sources, tail, since)
    # One container's tail is exact already, and needs no memory.
    yield from merged if tail is None or len(sources) == 1 else deque(merged, maxlen=tail)


def _merged(
    client: APIClient, sources: Sequence[Source], tail: int | None, since: str | None
) -> Iterator[LogLine]:
    streams = [read(client, source, tail=tail, since=since, follow=False) for source in sources]
    if len(streams) == 1:
        return (line for batch in streams[0] for line in batch)
    return merge(*map(_in_order, streams), key=_time)


def _in_order(batches: Iterator[list[LogLine]]) -> Iterator[LogLine]:
    """One container's lines by time: the engine files two streams, each a little ahead at times."""
    held: list[LogLine] = []
    for batch in batches:
        held = sorted(held + batch, key=_time)
        yield from held[:-_MARGIN]
        held = held[-_MARGIN:]
    yield from held


_time = attrgetter("time")


def follow(
    client: APIClient,
    find: Callable[[], list[Source]],
    *,
    tail: int | None,
    since: str | None,
    say: Say,
) -> Iterator[LogLine | None]:
    """First the lines up to now, then what comes; see `Runtime.follow`.

    `find` lists the containers; it is asked again and again, for restarts may replace them.
    """
    sources = find()
    readers = {source.identity: _Reader(client, source) for source in sources}
    past: deque[LogLine] = deque(maxlen=tail)
    # A few more lines than are shown: those that share the last time stamp must be counted.
    for line in _merged(client, sources, None if tail is None else tail + _MARGIN, since):
        readers[line.identity].advance(line)
        if tail is None:
            yield line
        else:
            past.append(line)
    yield from past
    arrived: queue.Queue[tuple[_Reader, list[LogLine] | None]] = queue.Queue(_WAITING)
    for reader in readers.values():
        reader.start(arrived)
    away = False
    looked = time.monotonic()
    while True:
        yield None
        fresh = list(_drain(arrived))
        yield from sorted(fresh, key=_time)
        if time.monotonic() - looked < _LOOK_EVERY:
            continue
        looked = time.monotonic()
        try:
            found = find()
        except OutOfReach as problem:
            if not away:
                say(f"{problem.message}; waiting for it to come back")
            away = True
            continue
        if away:
            say("Docker answers again; going on where it ended")
        away = False
        for source in found:
            reader = readers.setdefault(source.identity, _Reader(client, source))
            if reader.has_ended and reader.is_behind(source):
                reader.source = source
                reader.start(arrived)


def _drain(arrived: queue.Queue[tuple[_Reader, list[LogLine] | None]]) -> Iterator[LogLine]:
    """What has come, waiting a moment for the first of it."""
    with suppress(queue.Empty):
        reader, batch = arrived.get(timeout=_TICK)
        while True:
            yield from reader.take(batch)
            reader, batch = arrived.get_nowait()


class _Reader:
    """Follows one container in a thread of its own, and knows how far it has been read."""

    def __init__(self, client: APIClient, source: Source) -> None:
        self.client = client
        self.source = source
        self.has_ended = True
        self.started = ""  # the start of the container that was followed last
        self.time, self.count = "", 0  # the last line's time, and how many lines had it
        self.skip = 0

    def start(self, arrived: queue.Queue[tuple[_Reader, list[LogLine] | None]]) -> None:
        """Go on from the last line that was taken."""
        self.has_ended = False
        self.started = self.source.started
        self.skip = self.count
        threading.Thread(target=self._run, args=(arrived,), daemon=True).start()

    def _run(self, arrived: queue.Queue[tuple[_Reader, list[LogLine] | None]]) -> None:
        # An engine that is away is told by whoever looks for containers.
        with suppress(OutOfReach):
            for batch in read(
                self.client, self.source, tail=None, since=self.time or None, follow=True
            ):
                arrived.put((self, batch))
        arrived.put((self, None))

    def take(self, batch: list[LogLine] | None) -> Iterator[LogLine]:
        """The lines of a batch that were not taken before; None is the end of the container."""
        if batch is None:
            self.has_ended = True
            return
        for line in batch:
            if self.skip and line.time == self.time:
                self.skip -= 1
            elif line.time >= self.time:
                self.skip = 0
                self.advance(line)
                yield line

    def advance(self, line: LogLine) -> None:
        self.count = self.count + 1 if line.time == self.time else 1
        self.time = line.time

    def is_behind(self, source: Source) -> bool:
        """Whether the container runs, or has run, since it was followed last."""
        return source.running or source.started != self.started
