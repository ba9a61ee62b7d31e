"""HTTP requests that are bounded in time."""

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

_MAX_BODY = 1 << 20  # bytes
_SAFE_CHARACTERS = "%/?:@!$&'()*+,;=~"  # not percent-encoded in a request target


def fetch(url: str, timeout: float) -> Answer:
    """GET a URL within `timeout` seconds, without proxies and without following redirects."""
    started_at = time.perf_counter()
    try:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        is_secure = parts.scheme == "https"
        connection_type = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        connection = connection_type(parts.hostname or "", parts.port, timeout=timeout)
        with closing(connection):
            connection.connect()
            with _time_limit(connection.sock, started_at + timeout - time.perf_counter()):
                connection.request("GET", quote(target, _SAFE_CHARACTERS))
                with connection.getresponse() as response:
                    body = _parse_json(response.read(_MAX_BODY))
        seconds = time.perf_counter() - started_at
        if seconds >= timeout:
            raise TimeoutError
        return Answer(url, response.status, body, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        seconds = time.perf_counter() - started_at
        return Answer(url, None, {}, seconds, _problem(error, seconds, timeout))


@contextmanager
def _time_limit(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Shut the socket down after `seconds`.

    The socket's own timeout applies to each read, so a slow response could exceed it many times.
    """

    def shut_down() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _parse_json(content: bytes) -> dict[str, object]:
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
            return "the response is not HTTP"
    return str(error)
