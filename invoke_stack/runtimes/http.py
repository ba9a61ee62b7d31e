"""One HTTP request, bounded in time."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import quote, urlsplit

from invoke_stack.model import Answer


def fetch(url: str, timeout: float) -> Answer:
    """GET a URL within `timeout` seconds, without proxies and without following redirects."""
    begin = time.perf_counter()
    try:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        with closing(connection):
            connection.connect()
            with _cut_after(connection.sock, begin + timeout - time.perf_counter()):
                connection.request("GET", quote(target, _AS_THEY_ARE))
                with connection.getresponse() as response:
                    body = _json(response.read(1 << 20))
        seconds = time.perf_counter() - begin
        if seconds >= timeout:
            raise TimeoutError
        return Answer(url, response.status, body, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        seconds = time.perf_counter() - begin
        return Answer(url, None, {}, seconds, _problem(error, seconds, timeout))


_AS_THEY_ARE = "%/?:@!$&'()*+,;=~"


@contextmanager
def _cut_after(sock: socket.socket, seconds: float) -> Iterator[None]:
    """A bound on a whole exchange: a socket's own bounds each read, and a slow drip has many."""

    def cut() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _json(content: bytes) -> dict[str, object]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _problem(error: Exception, seconds: float, timeout: float) -> str:
    match error:
        case _ if isinstance(error, TimeoutError) or seconds >= timeout:
            return f"no answer within {timeout:g} s"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "the connection was closed without an answer"
        case OSError():
            return "cannot connect"
        case http.client.HTTPException():
            return "what answers there does not speak HTTP"
    return str(error)
