"""Prometheus metrics: what the health checks found, and how requests go."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import settings
from app.api import workers
from app.boot import progress
from app.health.monitor import Health

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MIGRATIONS = ("current", "behind", "ahead", "failed", "unknown")
COUNTS_SIZE = 262_144  # bytes of each file of a worker; about a hundred routes and status codes


def _share_counts() -> Path | None:
    """Have this process count in files that all workers read, and return their folder.

    None for a lone application, and where RUN_DIR cannot be used: it counts in memory then.
    """
    if not workers.is_worker():
        return None
    folder = progress.worker_metrics(settings.load().run_dir)
    try:
        folder.mkdir(exist_ok=True)
        for kind in ("gauge_mostrecent", "histogram"):  # as prometheus_client names them
            _allocate(folder / f"{kind}_{os.getpid()}.db")
    except OSError as error:
        progress.say(
            f"WARNING: RUN_DIR {folder.parent}: {error.strerror}."
            " /metrics counts the requests of one worker."
        )
        return None
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()
    return folder


def _allocate(file: Path) -> None:
    """Make a file of zeros, unless it exists. On a full disk, writing into a hole is a SIGBUS."""
    if not file.exists():
        new = file.with_suffix(".new")
        new.write_bytes(bytes(COUNTS_SIZE))
        new.replace(file)


_counts_folder = _share_counts()
_UP = Gauge(
    "deal_scout_up",
    "Whether a dependency answers",
    ["dependency"],
    multiprocess_mode="mostrecent",
)
_QUEUE_DEPTH = Gauge(
    "deal_scout_queue_depth",
    "Tasks accepted and not finished; NaN: not known",
    multiprocess_mode="mostrecent",
)
_SCHEMA = Gauge(
    "deal_scout_schema",
    "The schema against the migrations",
    ["state"],
    multiprocess_mode="mostrecent",
)
_REQUESTS = Histogram(
    "deal_scout_http_request_seconds",
    "Duration of HTTP requests",
    ["method", "path", "status"],
)


def render(health: Health) -> bytes:
    """Everything in the Prometheus text format, of all workers."""
    _UP.labels("db").set(health.db)
    _UP.labels("redis").set(health.redis)
    _QUEUE_DEPTH.set(math.nan if health.queue_depth is None else health.queue_depth)
    for state in MIGRATIONS:
        _SCHEMA.labels(state).set(state == health.migrations)
    if _counts_folder is None:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(_counts_folder))
    return generate_latest(registry)


class Requests:
    """ASGI middleware that measures every request.

    Its labels are bounded: the route's template, never the path that a stranger makes up.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        status = "500"

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            path = getattr(scope.get("route"), "path", "other")
            _REQUESTS.labels(method, path, status).observe(time.perf_counter() - started)
