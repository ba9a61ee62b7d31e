"""The local runtime's own probes, against servers that behave badly."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from invoke_stack.runtimes.local import probes


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"", "the connection was closed without an answer"),
        (b"+OK\r\n+PONG\r\n", ""),
        (b"-ERR one\r\n-NOAUTH two\r\n", "-NOAUTH two"),
    ],
)
def test_what_a_redis_says_that_ends(said: bytes, problem: str) -> None:
    def answer() -> None:
        with listener, contextlib.closing(listener.accept()[0]) as connection:
            connection.recv(1024)
            connection.sendall(said)

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    assert probes._redis(port, "secret") == problem
    thread.join(10)
