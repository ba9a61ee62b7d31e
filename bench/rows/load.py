"""`/health` under load, compared with an endpoint that returns a constant."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from bench.fixtures import Fixtures
from bench.measure import Action, Goal, Row
from harness.servers import free_port, is_listening, wait_until

CONNECTIONS = 64
DURATION = 1.0  # seconds
BARE = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
async def health():
    return {"ok": True}
"""
FLAGS = ("--no-server-header", "--timeout-graceful-shutdown", "5")  # the same as in the entrypoint


@contextlib.contextmanager
def _servers(fixtures: Fixtures) -> Iterator[tuple[str, str]]:
    """Yield the URLs of the local stack's backend and of the bare application."""
    port = free_port()
    (fixtures.folder / "bare.py").write_text(BARE, "utf-8")
    command = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port), *FLAGS]
    process = subprocess.Popen(
        command, cwd=fixtures.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until("the bare application answers", lambda: is_listening(port))
        yield f"{fixtures.local.url()}/health", f"http://127.0.0.1:{port}/health"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def throughput(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Measure requests per second."""
    with _servers(fixtures) as (ours, theirs):
        yield lambda: len(_load(ours)) / DURATION, lambda: len(_load(theirs)) / DURATION


@contextlib.contextmanager
def latency(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Measure the 99th percentile of the latencies, in milliseconds."""
    with _servers(fixtures) as (ours, theirs):
        yield lambda: _p99(_load(ours)), lambda: _p99(_load(theirs))


def _p99(latencies: list[float]) -> float:
    """Return the 99th percentile in milliseconds."""
    return sorted(latencies)[math.ceil(len(latencies) * 0.99) - 1] * 1000


def _load(url: str) -> list[float]:
    """Send requests over all connections for `DURATION`; return the seconds that each took."""
    return asyncio.run(_request_all(url))


async def _request_all(url: str) -> list[float]:
    latencies: list[float] = []
    deadline = time.perf_counter() + DURATION
    await asyncio.gather(*(_request(url, deadline, latencies) for _ in range(CONNECTIONS)))
    return latencies


async def _request(url: str, deadline: float, latencies: list[float]) -> None:
    """Send one request after the other on one connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    while (begin := time.perf_counter()) < deadline:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        latencies.append(time.perf_counter() - begin)
    writer.close()


_BARE = "a bare FastAPI endpoint that returns a constant, with the same flags"
ROWS = (
    Row(
        "load",
        "`/health` at 64 connections, requests a second",
        _BARE,
        Goal(0.7, least=True),
        throughput,
        "1/s",
    ),
    Row("load-p99", "the same, 99th percentile", _BARE, Goal(3.0), latency, "ms"),
)
