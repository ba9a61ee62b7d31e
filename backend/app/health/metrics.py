"""Prometheus metrics: results of the health checks, and request durations."""

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
FILE_SIZE = 262_144  # bytes per file of a worker; enough for a hundred routes and status codes


def _share_metrics() -> Path | None:
    """Store the metrics of this process in files that all workers read. Returns their folder.

    Returns None, and keeps metrics in memory, for a single application or if RUN_DIR is not
    writable.
    """
    if not workers.is_worker():
        return None
    folder = progress.worker_metrics_folder(settings.load().run_dir)
    try:
        folder.mkdir(exist_ok=True)
        for kind in ("gauge_mostrecent", "histogram"):  # the file names of prometheus_client
            _allocate(folder / f"{kind}_{os.getpid()}.db")
    except OSError as error:
        progress.log(
            f"WARNING: RUN_DIR {folder.parent}: {error.strerror}."
            " /metrics covers the requests of one worker only."
        )
        return None
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue()
    return folder


def _allocate(file: Path) -> None:
    """Create a file of zeros unless it exists: on a full disk, a sparse file causes a SIGBUS."""
    if not file.exists():
        new = file.with_suffix(".new")
        new.write_bytes(bytes(FILE_SIZE))
        new.replace(file)


_shared_folder = _share_metrics()
_UP = Gauge(
    "deal_scout_up",
    "Whether a dependency answers",
    ["dependency"],
    multiprocess_mode="mostrecent",
)
_QUEUE_DEPTH = Gauge(
    "deal_scout_queue_depth",
    "Tasks accepted and not finished; NaN if unknown",
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
    """Return the metrics of all workers in the Prometheus text format."""
    _UP.labels("db").set(health.db)
    _UP.labels("redis").set(health.redis)
    _QUEUE_DEPTH.set(math.nan if health.queue_depth is None else health.queue_depth)
    for state in MIGRATIONS:
        _SCHEMA.labels(state).set(state == health.migrations)
    if _shared_folder is None:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(_shared_folder))
    return generate_latest(registry)


class RequestMetrics:
    """ASGI middleware that measures every request.

    The number of label values is bounded: it uses the route's template, not the requested path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Measure a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started_at = time.perf_counter()
        status = "500"

        async def record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, record_status)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            path = getattr(scope.get("route"), "path", "other")
            _REQUESTS.labels(method, path, status).observe(time.perf_counter() - started_at)
