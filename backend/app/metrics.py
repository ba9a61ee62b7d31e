"""Prometheus metrics: what the health checks found, and how requests go."""

from __future__ import annotations

import math
import time

from prometheus_client import Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.health import Health

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MIGRATIONS = ("current", "behind", "ahead", "failed", "unknown")

_UP = Gauge("deal_scout_up", "Whether a dependency answers", ["dependency"])
_QUEUE_DEPTH = Gauge("deal_scout_queue_depth", "Tasks accepted and not finished; NaN: not known")
_SCHEMA = Gauge("deal_scout_schema", "The schema against the migrations", ["state"])
_REQUESTS = Histogram(
    "deal_scout_http_request_seconds",
    "Duration of HTTP requests",
    ["method", "path", "status"],
)


def render(health: Health) -> bytes:
    """Everything in the Prometheus text format."""
    _UP.labels("db").set(health.db)
    _UP.labels("redis").set(health.redis)
    _QUEUE_DEPTH.set(math.nan if health.queue_depth is None else health.queue_depth)
    for state in MIGRATIONS:
        _SCHEMA.labels(state).set(state == health.migrations)
    return generate_latest()


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
