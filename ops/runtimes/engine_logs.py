"""Container logs from the engine: whole lines of several containers, in order, across restarts.

A thread a container reads large pieces and takes them apart: the SDK's own generator takes twice
as long. The queues are bounded, so memory does not grow with the length of the logs.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ops.errors import OutOfReach
from ops.model import LogLine
from ops.runtime import Say
from ops.runtimes import engine

if TYPE_CHECKING:
    from docker import APIClient

_PIECE = 1 << 18  # bytes
_WAITING = 8  # batches of lines of one container that may wait to be shown
_TICK = 0.02  # seconds
_LOOK_EVERY = 0.5  # seconds between two looks for containers that are new or run again
_MARGIN = 100  # lines among which the engine's order and that of time may differ
_STREAMS = ("stdin", "stdout", "stderr")
_COMPLAINT = 3  # the stream in which the engine itself says that it could not read on


@dataclass(frozen=True)
class Source:
    """A container, or a task of Swarm's on whichever node, whose lines are wanted."""

    identity: str
    service: str
    replica: str
    node: str
    tty: bool
    running: bool
    started: str  # as the engine writes it
    kind: str = "containers"  # or `tasks`


# One container, to its end


def read(
    client: APIClient, source: Source, *, tail: int | None, since: str | None, follow: bool
) -> Iterator[list[LogLine]]:
    """The lines of one container in batches, until they end. Raises `OutOfReach`.

    The engine is asked at once, so that it prepares one container's while another's are read.
    """
    query: dict[str, int | str] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
    query |= {"tail": "all" if tail is None else tail}
    if since:
        # With its decimals, which the SDK would cut.
        moment = engine.time(since)
        nanos = since.partition(".")[2].rstrip("Z").ljust(9, "0")
        query["since"] = f"{int(moment.timestamp())}.{nanos}"
    pieces = _pieces(client, f"/{source.kind}/{source.identity}/logs?{urlencode(query)}")
    records = _records_of_tty(pieces) if source.tty else _records(pieces)
    names = (source.service, source.replica, source.node)
    return (
        [
            LogLine(_nine(stamp), *names, _STREAMS[stream], text, source.identity)
            for stream, stamp, text in batch
        ]
        for batch in records
    )


def _pieces(client: APIClient, path: str) -> Iterator[bytes]:
    """The body of a GET, as it comes.

    Over a local socket as HTTP/1.0, which has no chunks: the engine would make each line a chunk,
    and taking a million of those apart costs more than the lines themselves.
    """
    file = getattr(client.get_adapter(client.base_url), "socket_path", None)
    url = f"/v{client.api_version}{path}"
    if file is None or not hasattr(socket, "AF_UNIX"):
        return _pieces_by_sdk(client, url)
    with engine.errors():
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(file)
        sock.sendall(f"GET {url} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
    return _answer(sock)


def _answer(sock: socket.socket) -> Iterator[bytes]:
    with engine.errors(), sock:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(_PIECE)
            if not more:
                raise ConnectionError("the engine ended the connection")
            data += more
        head, _, data = data.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        while status != 200 and (more := sock.recv(_PIECE)):
            data += more
        if status != 200:
            raise OutOfReach(f"Docker refused: {_message(data)}", "see: inv status")
        data = data or sock.recv(_PIECE)
        while data:
            yield data
            data = sock.recv(_PIECE)


def _pieces_by_sdk(client: APIClient, url: str) -> Iterator[bytes]:
    with engine.errors():
        answer = client.get(client.base_url + url, stream=True, timeout=(engine.TIMEOUT, None))
        if answer.status_code != 200:
            raise OutOfReach(f"Docker refused: {_message(answer.content)}", "see: inv status")
        yield from answer.iter_content(None)


def _message(body: bytes) -> str:
    import json

    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["message"])
    return body.decode("utf-8", "replace")[:200]


_Record = tuple[int, str, str]  # stream, time, text


def _records(pieces: Iterator[bytes]) -> Iterator[list[_Record]]:
    """Take frames apart: a byte for the stream, three nothing, four for the length, the payload.

    A payload is `time text`; a long line comes as several, of which only the last ends in a newline.
    """
    data = b""
    begun: dict[int, tuple[str, str]] = {}  # by stream: time and text of a line that goes on
    for piece in pieces:
        data = data + piece if data else piece
        at, end = 0, len(data)
        batch: list[_Record] = []
        while at + 8 <= end:
            stop = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
            if stop > end:
                break
            stream = data[at] & 3
            if stream == _COMPLAINT:
                at = stop
                continue
            stamp, _, text = data[at + 8 : stop].decode("utf-8", "replace").partition(" ")
            at = stop
            if begun and stream in begun:
                stamp, before = begun.pop(stream)
                text = before + text
            if text[-1:] == "\n":
                batch.append((stream, stamp, text[:-1]))
            else:
                begun[stream] = (stamp, text)
        data = data[at:]
        if batch:
            yield batch
    if begun:
        yield [(stream, stamp, text) for stream, (stamp, text) in begun.items()]


def _records_of_tty(pieces: Iterator[bytes]) -> Iterator[list[_Record]]:
    """A terminal's output has no frames, one stream, and lines that end in CR LF."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if lines:
            yield [_tty_record(line) for line in lines]
    if rest:
        yield [_tty_record(rest)]


def _tty_record(line: bytes) -> _Record:
    stamp, _, text = line.decode("utf-8", "replace").partition(" ")
    return (1, stamp, text.rstrip("\r"))


def _nine(stamp: str) -> str:
    """The engine leaves trailing zeros out of a few time stamps; with them, text order is time order."""
    if len(stamp) == 30:
        return stamp
    whole, _, decimals = stamp.rstrip("Z").partition(".")
    return f"{whole}.{decimals.ljust(9, '0')}Z"


# Several containers


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
    """First the lines up to now, then what comes; see `Runtime.logs`.

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
