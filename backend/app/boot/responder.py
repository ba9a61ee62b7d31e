"""The startup responder: serves the probes on PORT while the entrypoint waits and migrates.

It shares the listening socket with Uvicorn, which takes over. To start fast, it uses no framework
and imports the database clients in the first check.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import time
from http import HTTPStatus
from typing import Any

from app.boot import progress
from app.health.body import health_body
from app.health.check import CHECK_TIMEOUT, Check
from app.settings import Settings

CONNECTION_TIMEOUT = 5.0  # seconds
DRAIN_TIMEOUT = 2.0  # seconds for in-flight requests on exit; a check takes 1 at most
ACCEPT_BATCH = 100  # connections to accept before serving others
POLL_INTERVAL = 0.5  # seconds between two checks that the entrypoint is running
MAX_HEAD = 16384  # bytes of the head of a request

JSON = "application/json"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
MIGRATIONS = {"applied": "current", "failed": "failed"}  # from the boot state to /health


def serve(listener: socket.socket, settings: Settings, parent: int) -> None:
    """Serve until SIGTERM, or until the process with id `parent` has exited."""
    # Each idle client uses a file descriptor for some seconds.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # above the limit of macOS
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    asyncio.run(Responder(settings).serve(listener, parent))


class Responder:
    """An HTTP server for probes: one request per connection."""

    def __init__(self, settings: Settings) -> None:
        self._run_dir = settings.run_dir
        self._db = Check(lambda: _select_one(settings))
        self._queue_depth = Check(lambda: _queue_depth(settings))
        self._heartbeats = Check(lambda: _heartbeats(settings))
        self._connections: set[asyncio.Task[Any]] = set()

    async def serve(self, listener: socket.socket, parent: int) -> None:
        """Serve until SIGTERM, or until the process with id `parent` has exited."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        listener.setblocking(False)
        while not stop.is_set() and os.getppid() == parent:
            loop.add_reader(listener, self._accept, listener)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_INTERVAL)
        loop.remove_reader(listener)  # the application accepts the pending connections
        if self._connections:
            await asyncio.wait(self._connections, timeout=DRAIN_TIMEOUT)

    def _accept(self, listener: socket.socket) -> None:
        """Accept the pending connections.

        Each gets its task at once, so that it is served even if the responder stops next: asyncio's
        own server drops the connections that it accepted just before it stops.
        """
        try:
            for _ in range(ACCEPT_BATCH):
                connection, _ = listener.accept()
                task = asyncio.create_task(self._handle(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
        except (BlockingIOError, ConnectionAbortedError):
            pass  # none pending
        except OSError:  # out of file descriptors: `serve` retries after `POLL_INTERVAL`
            asyncio.get_running_loop().remove_reader(listener)

    async def _handle(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_HEAD)
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(CONNECTION_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.decode("latin-1").partition(" ")
                path = rest.partition(" ")[0].partition("?")[0]
                writer.write(await self._response(method, path))
                writer.write_eof()
                # Closing with unread data would reset the connection and lose the response.
                while await reader.read(MAX_HEAD):
                    pass
        writer.close()

    async def _response(self, method: str, path: str) -> bytes:
        status, media_type, content = await self._content(path if method in ("GET", "HEAD") else "")
        body = content.encode()
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {media_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Retry-After: 2"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)

    async def _content(self, path: str) -> tuple[HTTPStatus, str, str]:
        """Return the status, media type and text for a path."""
        status = HTTPStatus.SERVICE_UNAVAILABLE
        if path == "/live":
            return HTTPStatus.OK, JSON, json.dumps({"ok": True})
        if path in ("/health", "/ready", "/metrics"):
            health = await self._health()
            if path == "/metrics":
                return HTTPStatus.OK, PROMETHEUS, _metrics(health)
            if path == "/health" and health["ok"]:
                status = HTTPStatus.OK
            return status, JSON, json.dumps(health)
        if path == "/overview":
            overview = await self._overview()
            status = HTTPStatus.OK if overview["ok"] else status
            return status, JSON, json.dumps(overview)
        if path == "/migrations":
            return status, JSON, json.dumps({"current": None, "head": None, "pending": None})
        return status, JSON, json.dumps({"detail": "starting"})

    async def _health(self) -> dict[str, Any]:
        db, queue_depth = await asyncio.gather(self._db.result(), self._queue_depth.result())
        state = progress.read(self._run_dir)
        health = health_body(
            db=bool(db),
            queue_depth=queue_depth,
            # The state may say `serving`, but the application does not until it stops the responder.
            phase="migrating" if state.get("phase") in ("migrating", "serving") else "waiting",
            migrations=MIGRATIONS.get(state.get("migrations", ""), "unknown"),
        )
        return health | progress.attempt(state)

    async def _overview(self) -> dict[str, Any]:
        health, heartbeats = await asyncio.gather(self._health(), self._heartbeats.result())
        phases = progress.phases(progress.read(self._run_dir), time.time())
        return {**health, "phases": [phase.body() for phase in phases], "heartbeats": heartbeats}


def _select_one(settings: Settings) -> bool:
    from app.boot import postgres

    postgres.select_one(settings, CHECK_TIMEOUT)
    return True


def _queue_depth(settings: Settings) -> int:
    from app.worker import broker

    with broker.client(settings, CHECK_TIMEOUT) as client:
        return broker.depth(client)


def _heartbeats(settings: Settings) -> dict[str, float | None]:
    from app import heartbeat
    from app.worker import broker

    with broker.client(settings, CHECK_TIMEOUT) as client:
        return heartbeat.ages(client)


def _metrics(health: dict[str, Any]) -> str:
    """Return the gauges that the application has as well."""
    depth = "NaN" if health["queue_depth"] is None else health["queue_depth"]
    return (
        "# TYPE deal_scout_up gauge\n"
        f'deal_scout_up{{dependency="db"}} {health["db"]:d}\n'
        f'deal_scout_up{{dependency="redis"}} {health["redis"]:d}\n'
        "# TYPE deal_scout_queue_depth gauge\n"
        f"deal_scout_queue_depth {depth}\n"
    )
