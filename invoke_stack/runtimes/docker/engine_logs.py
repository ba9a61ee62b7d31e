"""Reads container logs from the engine: several containers, merged by time, across restarts.

Each followed container has a thread. The queue is bounded, so memory does not grow with the length
of the logs.
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

_QUEUE_SIZE = 8  # batches of lines
_TICK = 0.02  # seconds to wait for the next batch
_POLL_INTERVAL = 0.5  # seconds between two checks for new or restarted containers
_MARGIN = 100  # lines within which the engine's order may differ from the order of time


def history(
    client: APIClient, sources: Sequence[Source], *, tail: int | None, since: str | None
) -> Iterator[LogLine]:
    """Yield the lines up to now, merged by time; `tail` limits their total number."""
    if tail == 0:
        return
    merged = _merged(client, sources, tail, since)
    # The engine applies the tail of a single container itself, without a buffer here.
    yield from merged if tail is None or len(sources) == 1 else deque(merged, maxlen=tail)


def _merged(
    client: APIClient, sources: Sequence[Source], tail: int | None, since: str | None
) -> Iterator[LogLine]:
    streams = [read(client, source, tail=tail, since=since, follow=False) for source in sources]
    if len(streams) == 1:
        return (line for batch in streams[0] for line in batch)
    return merge(*map(_in_order, streams), key=_time)


def _in_order(batches: Iterator[list[LogLine]]) -> Iterator[LogLine]:
    """Yield one container's lines by time; its stdout and stderr may be slightly out of order."""
    buffer: list[LogLine] = []
    for batch in batches:
        buffer = sorted(buffer + batch, key=_time)
        yield from buffer[:-_MARGIN]
        buffer = buffer[-_MARGIN:]
    yield from buffer


_time = attrgetter("time")


def follow(
    client: APIClient,
    find_sources: Callable[[], list[Source]],
    *,
    tail: int | None,
    since: str | None,
    say: Say,
) -> Iterator[LogLine | None]:
    """Yield the lines up to now, and then new ones; see `Runtime.follow`.

    `find_sources` lists the containers. It is called repeatedly, because a restart may replace them.
    """
    sources = find_sources()
    readers = {source.identity: _Reader(client, source) for source in sources}
    past: deque[LogLine] = deque(maxlen=tail)
    # Read a few more lines than are shown, to count those that share the last timestamp.
    for line in _merged(client, sources, None if tail is None else tail + _MARGIN, since):
        readers[line.identity].advance(line)
        if tail is None:
            yield line
        else:
            past.append(line)
    yield from past
    batches: _Batches = queue.Queue(_QUEUE_SIZE)
    for reader in readers.values():
        reader.start(batches)
    is_away = False
    polled_at = time.monotonic()
    while True:
        yield None
        yield from sorted(_drain(batches), key=_time)
        if time.monotonic() - polled_at < _POLL_INTERVAL:
            continue
        polled_at = time.monotonic()
        try:
            sources = find_sources()
        except OutOfReach as error:
            if not is_away:
                say(f"{error.message}; waiting for it to come back")
            is_away = True
            continue
        if is_away:
            say("Docker answers again; resuming the logs")
        is_away = False
        for source in sources:
            reader = readers.setdefault(source.identity, _Reader(client, source))
            if reader.has_ended and reader.is_behind(source):
                reader.source = source
                reader.start(batches)


def _drain(batches: _Batches) -> Iterator[LogLine]:
    """Yield the lines in the queue; waits up to `_TICK` seconds for the first batch."""
    with suppress(queue.Empty):
        reader, batch = batches.get(timeout=_TICK)
        while True:
            yield from reader.accept(batch)
            reader, batch = batches.get_nowait()


class _Reader:
    """Follows one container in a thread, and keeps its position in the log."""

    def __init__(self, client: APIClient, source: Source) -> None:
        self.client = client
        self.source = source
        self.has_ended = True
        self.started_at = ""  # start time of the container when it was last followed
        self.time, self.count = "", 0  # time of the last line, and number of lines at that time
        self.skip = 0

    def start(self, batches: _Batches) -> None:
        """Follow the container from the last accepted line on."""
        self.has_ended = False
        self.started_at = self.source.started_at
        self.skip = self.count
        threading.Thread(target=self._run, args=(batches,), daemon=True).start()

    def _run(self, batches: _Batches) -> None:
        # `follow` reports an engine that is away.
        with suppress(OutOfReach):
            for batch in read(
                self.client, self.source, tail=None, since=self.time or None, follow=True
            ):
                batches.put((self, batch))
        batches.put((self, None))

    def accept(self, batch: list[LogLine] | None) -> Iterator[LogLine]:
        """Yield the lines of a batch that are new; None marks the end of the container's log."""
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
        """Set the position to this line."""
        self.count = self.count + 1 if line.time == self.time else 1
        self.time = line.time

    def is_behind(self, source: Source) -> bool:
        """Return True if the container is running, or has been started since it was followed."""
        return source.is_running or source.started_at != self.started_at


_Batches = queue.Queue[tuple[_Reader, list[LogLine] | None]]
"""Batches of lines with the reader that they come from; None marks the end of a log."""
