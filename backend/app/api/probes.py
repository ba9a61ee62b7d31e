"""Endpoints for probes, operators and Prometheus. None of them waits for the domain."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import AwareDatetime, BaseModel, Field

from app.health import metrics
from app.health.monitor import Monitor

NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(tags=["probes"])


class HealthBody(BaseModel):
    """The health of the backend and its dependencies."""

    ok: bool
    db: bool
    redis: bool
    queue_depth: int | None
    version: str
    time: AwareDatetime
    phase: Literal["waiting", "migrating", "serving"]
    migrations: Literal["current", "behind", "ahead", "failed", "unknown"]


class PhaseBody(BaseModel):
    """A phase of the last boot."""

    name: Literal["database", "migrations", "application"]
    began: AwareDatetime
    seconds: float = Field(description="So far, while the phase is running")
    attempts: int
    outcome: str | None = Field(description="null while the phase is running")


class HeartbeatsBody(BaseModel):
    """Seconds since the last heartbeat; null if there was none for a day."""

    worker: float | None
    beat: float | None


class OverviewBody(HealthBody):
    """The health, the last boot and the heartbeats."""

    phases: list[PhaseBody] = Field(description="Of the last boot; empty if unknown")
    heartbeats: HeartbeatsBody | None = Field(description="null if Redis does not answer")


class LiveBody(BaseModel):
    """The response of a process that is not hung."""

    ok: bool


class MigrationsBody(BaseModel):
    """The schema revision of the database, and those of this release."""

    current: str | None
    head: str | None
    pending: list[str] | None


def _monitor(request: Request) -> Monitor:
    monitor: Monitor = request.app.state.monitor
    return monitor


def _json(body: dict[str, object], ok: bool = True) -> JSONResponse:
    return JSONResponse(body, 200 if ok else 503, NO_STORE)


@router.get(
    "/health",
    summary="Health of the database and Redis",
    response_model=HealthBody,
    responses={503: {"model": HealthBody, "description": "One of them does not answer"}},
)
async def health(request: Request) -> Response:
    """Return 200 if the database and Redis answer, else 503."""
    current = await _monitor(request).read()
    return _json(current.body(), current.ok)


@router.get(
    "/ready",
    summary="Readiness: dependencies are up and the schema is current",
    response_model=HealthBody,
    responses={503: {"model": HealthBody, "description": "Not ready"}},
)
async def ready(
    request: Request,
    ahead: Annotated[
        Literal["ok"] | None,
        Query(description="For rolling updates: a schema that is ahead counts as current"),
    ] = None,
) -> Response:
    """Return 200 if the application can do its work, else 503."""
    current = await _monitor(request).read()
    # The previous release keeps serving while the next one migrates, and after a rollback.
    is_accepted_ahead = current.ok and current.migrations == "ahead" and ahead == "ok"
    return _json(current.body(), current.ready or is_accepted_ahead)


@router.get(
    "/overview",
    summary="The health, the last boot and the heartbeats, for the web page",
    response_model=OverviewBody,
    responses={503: {"model": OverviewBody, "description": "As /health"}},
)
async def overview(request: Request) -> Response:
    """Return everything that the web page shows."""
    current, body = await _monitor(request).overview()
    return _json(body, current.ok)


@router.get(
    "/live", summary="Liveness of the process; checks no dependency", response_model=LiveBody
)
async def live() -> Response:
    """Return 200 unless the process hangs."""
    return _json({"ok": True})


@router.get(
    "/migrations",
    summary="The schema revisions; null if unknown",
    response_model=MigrationsBody,
)
async def migrations(request: Request) -> Response:
    """Return the current, head and pending revisions."""
    current = await _monitor(request).read()
    return _json(current.schema.body())


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def prometheus(request: Request) -> Response:
    """Return the metrics in the Prometheus text format."""
    text = metrics.render(await _monitor(request).read())
    return Response(text, headers=NO_STORE, media_type=CONTENT_TYPE_LATEST)
