"""Answers on PORT from the first moment, while the entrypoint waits and migrates.

It shares the listening socket with Uvicorn, which takes over. It starts fast: no framework, and
the first check imports the database clients.
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
from app.health.check import PATIENCE, Check
from app.settings import Settings

CONNECTION = 5.0  # seconds for a whole connection
LAST_WORDS = 2.0  # for those under way when the application takes over; a check takes 1 at most
AT_ONCE = 100  # connections that are taken before others are heard
LOOK_EVERY = 0.5  # seconds between two looks at whether the entrypoint lives
HEAD = 16384  # bytes of a request's head

JSON = "application/json"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
MIGRATIONS = {"applied": "current", "failed": "failed"}  # the boot state's word → the contract's


def answer(listener: socket.socket, settings: Settings, parent: int) -> None:
    """Answer until SIGTERM, or until the process `parent` is gone."""
    # Clients that say nothing take a descriptor each, for some seconds.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # more than macOS gives
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    asyncio.run(Responder(settings).serve(listener, parent))


class Responder:
    """An HTTP server for probes: one request a connection."""

    def __init__(self, settings: Settings) -> None:
        self._run_dir = settings.run_dir
        self._db = Check(lambda: _select_one(settings))
        self._queue_depth = Check(lambda: _queue_depth(settings))
        self._heartbeats = Check(lambda: _heartbeats(settings))
        self._connections: set[asyncio.Task[Any]] = set()

    async def serve(self, listener: socket.socket, parent: int) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        listener.setblocking(False)
        while not stop.is_set() and os.getppid() == parent:
            loop.add_reader(listener, self._accept, listener)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_EVERY)
        loop.remove_reader(listener)  # what waits there is for the application
        if self._connections:
            await asyncio.wait(self._connections, timeout=LAST_WORDS)

    def _accept(self, listener: socket.socket) -> None:
        """Take the connections that wait.

        Each has its task from that moment on, and so is answered even when the end comes next.
        asyncio's own server forgets at its end those that it has just accepted.
        """
        try:
            for _ in range(AT_ONCE):
                connection, _ = listener.accept()
                task = asyncio.create_task(self._talk(connection))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)
        except (BlockingIOError, ConnectionAbortedError):
            pass  # no more
        except OSError:  # no descriptor is free: the next look tries again
            asyncio.get_running_loop().remove_reader(listener)

    async def _talk(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=HEAD)
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(CONNECTION):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.decode("latin-1").partition(" ")
                path = rest.partition(" ")[0].partition("?")[0]
                writer.write(await self._response(method, path))
                writer.write_eof()
                # Closing with a request's body unread would reset the connection, answer and all.
                while await reader.read(HEAD):
                    pass
        writer.close()

    async def _response(self, method: str, path: str) -> bytes:
        status, kind, content = await self._page(path if method in ("GET", "HEAD") else "")
        body = content.encode()
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(["Retry-After: 2"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)

    async def _page(self, path: str) -> tuple[HTTPStatus, str, str]:
        """The status, type and text for a path."""
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
            # While it is us who answer, the application does not serve, whatever was announced.
            phase="migrating" if state.get("phase") in ("migrating", "serving") else "waiting",
            migrations=MIGRATIONS.get(state.get("migrations", ""), "unknown"),
        )
        return health | progress.attempt(state)

    async def _overview(self) -> dict[str, Any]:
        health, heartbeats = await asyncio.gather(self._health(), self._heartbeats.result())
        phases = progress.phases(progress.read(self._run_dir), time.time())
        return health | {"phases": [phase.body() for phase in phases], "heartbeats": heartbeats}


def _select_one(settings: Settings) -> bool:
    from app.boot import postgres

    postgres.select_one(settings, PATIENCE)
    return True


def _queue_depth(settings: Settings) -> int:
    from app.worker import broker

    with broker.client(settings, PATIENCE) as client:
        return broker.depth(client)


def _heartbeats(settings: Settings) -> dict[str, float | None]:
    from app import heartbeat
    from app.worker import broker

    with broker.client(settings, PATIENCE) as client:
        return heartbeat.ages(client)


def _metrics(health: dict[str, Any]) -> str:
    """The gauges that the application has too."""
    depth = "NaN" if health["queue_depth"] is None else health["queue_depth"]
    return (
        "# TYPE deal_scout_up gauge\n"
        f'deal_scout_up{{dependency="db"}} {health["db"]:d}\n'
        f'deal_scout_up{{dependency="redis"}} {health["redis"]:d}\n'
        "# TYPE deal_scout_queue_depth gauge\n"
        f"deal_scout_queue_depth {depth}\n"
    )
