"""The local runtime's probes, against misbehaving servers."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from invoke_stack.runtimes.local import probes


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (b"", "the connection was closed without an answer"),
        (b"+OK\r\n+PONG\r\n", ""),
        (b"-ERR one\r\n-NOAUTH two\r\n", "-NOAUTH two"),
    ],
)
def test_redis_probe_reports_the_last_line_before_the_connection_closes(
    response: bytes, problem: str
) -> None:
    def respond() -> None:
        with listener, contextlib.closing(listener.accept()[0]) as connection:
            connection.recv(1024)
            connection.sendall(response)

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=respond, daemon=True)
    thread.start()
    assert probes._redis(port, "secret") == problem
    thread.join(10)
