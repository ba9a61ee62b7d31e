"""`/health` under load, against an endpoint that returns a constant."""

from __future__ import annotations

import asyncio
import contextlib
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from bench.measure import Action, Goal, Row
from bench.place import Place
from harness.servers import free_port, is_listening, wait_until

CONNECTIONS = 64
LASTS = 1.0  # seconds
BARE = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
async def health():
    return {"ok": True}
"""
FLAGS = ("--no-server-header", "--timeout-graceful-shutdown", "5")  # the entrypoint's own


@contextlib.contextmanager
def _servers(place: Place) -> Iterator[tuple[str, str]]:
    """The addresses of the backend of the local stack, and of the bare application."""
    port = free_port()
    (place.folder / "bare.py").write_text(BARE, "utf-8")
    words = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port), *FLAGS]
    process = subprocess.Popen(
        words, cwd=place.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until("the bare application answers", lambda: is_listening(port))
        yield f"{place.local.url()}/health", f"http://127.0.0.1:{port}/health"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def throughput(place: Place) -> Iterator[tuple[Action, Action]]:
    with _servers(place) as (ours, theirs):
        yield lambda: len(_load(ours)) / LASTS, lambda: len(_load(theirs)) / LASTS


@contextlib.contextmanager
def patience(place: Place) -> Iterator[tuple[Action, Action]]:
    with _servers(place) as (ours, theirs):
        yield lambda: _p99(_load(ours)), lambda: _p99(_load(theirs))


def _p99(latencies: list[float]) -> float:
    """In milliseconds."""
    return sorted(latencies)[math.ceil(len(latencies) * 0.99) - 1] * 1000


def _load(url: str) -> list[float]:
    """Ask over 64 connections at once for a second; how many seconds each answer took."""
    return asyncio.run(_ask_all(url))


async def _ask_all(url: str) -> list[float]:
    latencies: list[float] = []
    until = time.perf_counter() + LASTS
    await asyncio.gather(*(_ask(url, until, latencies) for _ in range(CONNECTIONS)))
    return latencies


async def _ask(url: str, until: float, latencies: list[float]) -> None:
    """One request after the other on one connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    while (begin := time.perf_counter()) < until:
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
    Row("load-p99", "the same, 99th percentile", _BARE, Goal(3.0), patience, "ms"),
)
