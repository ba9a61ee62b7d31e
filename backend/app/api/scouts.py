"""Endpoint to send a scout: a worker reads a feed and stores its deals."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from app.api.problems import INVALID_BODY, Problem
from app.domain.scouting import Feed
from app.worker.celery import scout

router = APIRouter(prefix="/scouts", tags=["scouts"])


class ScoutRequest(BaseModel):
    """The feed to read."""

    model_config = ConfigDict(extra="forbid")

    feed: Feed = "sample"


class ScoutSent(BaseModel):
    """A task that was accepted."""

    task_id: str
    feed: str


@router.post(
    "",
    status_code=202,
    summary="Queue the reading of a feed",
    responses=INVALID_BODY
    | {503: {"model": Problem, "description": "The task queue is unavailable; retry later"}},
)
def send_scout(request: ScoutRequest = ScoutRequest()) -> ScoutSent:  # noqa: B008  immutable
    """Queue a task that reads a feed and stores its deals."""
    task = scout.apply_async([request.feed], retry=False)
    return ScoutSent(task_id=task.id, feed=request.feed)
