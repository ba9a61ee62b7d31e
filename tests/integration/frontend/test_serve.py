"""What only `serve.py` does, or shows only when its time limits are short."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from frontend.serve import TIMEOUT, make_app
from harness.servers import free_port, wait_until
from tests.integration.frontend.conftest import Site, frontend

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@contextlib.contextmanager
def moody(*replies: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives each connection the next of these replies; None: it never answers.

    Gives its address, and a list in which the first lines of the requests appear.
    """
    seen: list[bytes] = []
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for reply in replies:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    held.append(connection)
                    seen.append(connection.recv(65536).partition(b"\r\n")[0])
                    if reply is not None:
                        connection.sendall(reply)
                        connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    for connection in held:
        connection.close()


@contextlib.contextmanager
def visitor(backend: str, timeout: httpx.Timeout = TIMEOUT) -> Iterator[httpx.Client]:
    """A client of the frontend, which runs in a thread with these time limits."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(make_app(backend, timeout), port=port, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until("the frontend serves", lambda: server.started)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client
    server.should_exit = True
    thread.join(10)


def test_time_limits() -> None:
    assert httpx.Timeout(connect=2, read=30, write=30, pool=30) == TIMEOUT


def test_a_read_is_tried_twice() -> None:
    with moody(b"", ANSWER) as (backend, seen), visitor(backend) as client:
        answer = client.get("/api/deals")
    assert (answer.status_code, answer.text) == (200, "ok")
    assert seen == [b"GET /deals HTTP/1.1"] * 2


def test_a_read_is_not_tried_three_times() -> None:
    with moody(b"", b"", ANSWER) as (backend, seen), visitor(backend) as client:
        assert client.get("/api/deals").status_code == 502
    assert len(seen) == 2


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_change_is_tried_once(method: str) -> None:
    with moody(b"", ANSWER) as (backend, seen), visitor(backend) as client:
        assert client.request(method, "/api/deals/1").status_code == 502
    assert len(seen) == 1


def test_a_header_named_by_connection_goes_no_further() -> None:
    reply = ANSWER.replace(b"close", b"close, X-Hop\r\nX-Hop: mine\r\nX-End: yours")
    with moody(reply) as (backend, _), visitor(backend) as client:
        answer = client.get("/api/deals")
    assert answer.headers["x-end"] == "yours"
    assert "x-hop" not in answer.headers
    assert "close" not in answer.headers.get("connection", "")


def test_a_backend_that_hangs() -> None:
    with moody(None) as (backend, seen), visitor(backend, httpx.Timeout(0.3)) as client:
        answer = client.get("/api/health")
    assert answer.status_code == 504
    assert answer.json() == {"detail": "the backend does not answer"}
    assert answer.headers["cache-control"] == "no-store"
    assert len(seen) == 1


def test_an_answer_that_makes_no_sense() -> None:
    with moody(b"220 mail.example ESMTP\r\n" * 2, b"?\r\n\r\n") as (backend, _):
        with visitor(backend) as client:
            assert client.get("/api/health").status_code == 502


def test_an_answer_arrives_as_it_is_made(backend: Site, tmp_path: Path) -> None:
    with frontend("serve", tmp_path, backend.url) as site:
        started = time.monotonic()
        with httpx.stream("GET", f"{site.url}/api/slow", trust_env=False, timeout=10) as answer:
            parts = answer.iter_raw()
            assert next(parts) == b"first "
            assert time.monotonic() - started < 1.5
            assert b"".join(parts) == b"last"


def test_a_visitor_who_leaves_is_not_an_error(backend: Site, tmp_path: Path) -> None:
    with frontend("serve", tmp_path, backend.url) as site:
        with socket.create_connection(("127.0.0.1", site.port)) as leaver:
            leaver.sendall(b"POST /api/deals HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        with httpx.stream("GET", f"{site.url}/api/slow", trust_env=False) as answer:
            next(answer.iter_raw())
        assert httpx.get(f"{site.url}/api/deals", trust_env=False).status_code == 200
    assert "Traceback" not in (tmp_path / "serve.log").read_text("utf-8")


def test_a_backend_under_a_path(backend: Site) -> None:
    with visitor(f"{backend.url}/v1/") as client:
        assert client.get("/api/deals").json()["path"] == "/v1/deals"


@pytest.mark.parametrize("url", ["backend:8000", "http://", "ftp://backend", "/api", "127.0.0.1"])
def test_a_bad_address_is_named(url: str) -> None:
    with pytest.raises(SystemExit, match="BACKEND_URL"):
        make_app(url)
