"""The log of one container as the engine streams it: taken apart into whole lines, in batches.

Large pieces are read and taken apart in one loop: the SDK's own generator takes twice as long.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from invoke_stack import timestamps
from invoke_stack.errors import OutOfReach
from invoke_stack.model import LogLine
from invoke_stack.runtimes.docker import engine

if TYPE_CHECKING:
    from docker import APIClient

_PIECE = 1 << 18  # bytes
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
        moment = timestamps.parse(since)
        nanos = since.partition(".")[2].rstrip("Z").ljust(9, "0")
        query["since"] = f"{int(moment.timestamp())}.{nanos}"
    pieces = _pieces(client, f"/{source.kind}/{source.identity}/logs?{urlencode(query)}")
    records = _records_of_tty(pieces) if source.tty else _records(pieces)
    names = (source.service, source.replica, source.node)
    return (
        [
            LogLine(
                timestamps.nine_decimals(stamp), *names, _STREAMS[stream], text, source.identity
            )
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
