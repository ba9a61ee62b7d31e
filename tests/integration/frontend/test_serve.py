"""Behaviour of `serve.py` alone, or that is only visible with short timeouts."""

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

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@contextlib.contextmanager
def scripted_backend(*replies: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that sends the next reply to each connection; None: it never answers.

    Yields its URL and a list to which the first line of each request is added.
    """
    requests: list[bytes] = []
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for reply in replies:
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    connections.append(connection)
                    requests.append(connection.recv(65536).partition(b"\r\n")[0])
                    if reply is not None:
                        connection.sendall(reply)
                        connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
    for connection in connections:
        connection.close()


@contextlib.contextmanager
def frontend_client(backend: str, timeout: httpx.Timeout = TIMEOUT) -> Iterator[httpx.Client]:
    """Run the frontend with these timeouts in a thread, and yield a client."""
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


def test_proxy_has_the_documented_timeouts() -> None:
    assert httpx.Timeout(connect=2, read=30, write=30, pool=30) == TIMEOUT


def test_proxy_retries_a_get_once() -> None:
    with (
        scripted_backend(b"", RESPONSE) as (backend, requests),
        frontend_client(backend) as client,
    ):
        response = client.get("/api/deals")
    assert (response.status_code, response.text) == (200, "ok")
    assert requests == [b"GET /deals HTTP/1.1"] * 2


def test_proxy_does_not_retry_a_get_twice() -> None:
    with (
        scripted_backend(b"", b"", RESPONSE) as (backend, requests),
        frontend_client(backend) as client,
    ):
        assert client.get("/api/deals").status_code == 502
    assert len(requests) == 2


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_proxy_does_not_retry_a_change(method: str) -> None:
    with (
        scripted_backend(b"", RESPONSE) as (backend, requests),
        frontend_client(backend) as client,
    ):
        assert client.request(method, "/api/deals/1").status_code == 502
    assert len(requests) == 1


def test_proxy_drops_headers_named_by_connection() -> None:
    reply = RESPONSE.replace(b"close", b"close, X-Hop\r\nX-Hop: mine\r\nX-End: yours")
    with scripted_backend(reply) as (backend, _), frontend_client(backend) as client:
        response = client.get("/api/deals")
    assert response.headers["x-end"] == "yours"
    assert "x-hop" not in response.headers
    assert "close" not in response.headers.get("connection", "")


def test_proxy_answers_504_when_the_backend_hangs() -> None:
    with (
        scripted_backend(None) as (backend, requests),
        frontend_client(backend, httpx.Timeout(0.3)) as client,
    ):
        response = client.get("/api/health")
    assert response.status_code == 504
    assert response.json() == {"detail": "the backend does not answer"}
    assert response.headers["cache-control"] == "no-store"
    assert len(requests) == 1


def test_proxy_answers_502_to_an_invalid_response() -> None:
    with (
        scripted_backend(b"220 mail.example ESMTP\r\n" * 2, b"?\r\n\r\n") as (backend, _),
        frontend_client(backend) as client,
    ):
        assert client.get("/api/health").status_code == 502


def test_proxy_streams_the_response(backend: Site, tmp_path: Path) -> None:
    with frontend("serve", tmp_path, backend.url) as site:
        started_at = time.monotonic()
        with httpx.stream("GET", f"{site.url}/api/slow", trust_env=False, timeout=10) as response:
            parts = response.iter_raw()
            assert next(parts) == b"first "
            assert time.monotonic() - started_at < 1.5
            assert b"".join(parts) == b"last"


def test_proxy_logs_no_error_when_a_client_disconnects(backend: Site, tmp_path: Path) -> None:
    with frontend("serve", tmp_path, backend.url) as site:
        with socket.create_connection(("127.0.0.1", site.port)) as client:
            client.sendall(b"POST /api/deals HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        with httpx.stream("GET", f"{site.url}/api/slow", trust_env=False) as response:
            next(response.iter_raw())
        assert httpx.get(f"{site.url}/api/deals", trust_env=False).status_code == 200
    assert "Traceback" not in (tmp_path / "serve.log").read_text("utf-8")


def test_proxy_supports_a_backend_url_with_a_path(backend: Site) -> None:
    with frontend_client(f"{backend.url}/v1/") as client:
        assert client.get("/api/deals").json()["path"] == "/v1/deals"


@pytest.mark.parametrize("url", ["backend:8000", "http://", "ftp://backend", "/api", "127.0.0.1"])
def test_make_app_rejects_an_invalid_backend_url(url: str) -> None:
    with pytest.raises(SystemExit, match="BACKEND_URL"):
        make_app(url)
