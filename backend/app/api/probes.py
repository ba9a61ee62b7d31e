"""What probes, operators and Prometheus ask. None of it waits for the domain."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import AwareDatetime, BaseModel, Field

from app.health import metrics
from app.health.monitor import Health

NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(tags=["probes"])


class HealthBody(BaseModel):
    ok: bool
    db: bool
    redis: bool
    queue_depth: int | None
    version: str
    time: AwareDatetime
    phase: Literal["waiting", "migrating", "serving"]
    migrations: Literal["current", "behind", "ahead", "failed", "unknown"]


class PhaseBody(BaseModel):
    name: Literal["database", "migrations", "application"]
    began: AwareDatetime
    seconds: float = Field(description="So far, while it lasts")
    attempts: int
    outcome: str | None = Field(description="null while it lasts")


class HeartbeatsBody(BaseModel):
    """Seconds since the last sign of life; null when there was none for a day."""

    worker: float | None
    beat: float | None


class OverviewBody(HealthBody):
    phases: list[PhaseBody] = Field(description="Of the last boot; empty when it is not known")
    heartbeats: HeartbeatsBody | None = Field(description="null when Redis does not answer")


class LiveBody(BaseModel):
    ok: bool


class MigrationsBody(BaseModel):
    current: str | None
    head: str | None
    pending: list[str] | None


async def _read(request: Request) -> Health:
    return await request.app.state.monitor.read()


def _json(body: dict[str, object], good: bool = True) -> JSONResponse:
    return JSONResponse(body, 200 if good else 503, NO_STORE)


@router.get(
    "/health",
    summary="Whether the database and Redis answer",
    response_model=HealthBody,
    responses={503: {"model": HealthBody, "description": "One of them does not"}},
)
async def health(request: Request) -> Response:
    state = await _read(request)
    return _json(state.body(), state.ok)


@router.get(
    "/ready",
    summary="Whether the application can do its work, on a current schema",
    response_model=HealthBody,
    responses={503: {"model": HealthBody, "description": "Not now"}},
)
async def ready(
    request: Request,
    ahead: Annotated[
        Literal["ok"] | None,
        Query(description="For rolling updates: a schema that is ahead counts as current"),
    ] = None,
) -> Response:
    state = await _read(request)
    # The former release serves on while the next one migrates, or when it is taken back.
    serves = state.ok and state.migrations == "ahead" and ahead == "ok"
    return _json(state.body(), state.ready or serves)


@router.get(
    "/overview",
    summary="What the web page shows: the health, the last boot, and who gave signs of life",
    response_model=OverviewBody,
    responses={503: {"model": OverviewBody, "description": "As /health"}},
)
async def overview(request: Request) -> Response:
    state, body = await request.app.state.monitor.overview()
    return _json(body, state.ok)


@router.get(
    "/live", summary="Whether the process answers; touches nothing else", response_model=LiveBody
)
async def live() -> Response:
    return _json({"ok": True})


@router.get(
    "/migrations",
    summary="The schema's revision; null where it is not known",
    response_model=MigrationsBody,
)
async def migrations(request: Request) -> Response:
    return _json((await _read(request)).schema.body())


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def prometheus(request: Request) -> Response:
    text = metrics.render(await _read(request))
    return Response(text, headers=NO_STORE, media_type=CONTENT_TYPE_LATEST)
