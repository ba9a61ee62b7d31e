"""Send a scout: a worker reads a feed and brings its deals home."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from app.api.problems import UNREADABLE, Problem
from app.domain.scouting import Feed
from app.worker.celery import scout

router = APIRouter(prefix="/scouts", tags=["scouts"])


class ScoutRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    feed: Feed = "sample"


class ScoutSent(BaseModel):
    task_id: str
    feed: str


@router.post(
    "",
    status_code=202,
    summary="Read a feed soon",
    responses=UNREADABLE
    | {503: {"model": Problem, "description": "The task queue is away; try again"}},
)
def send_scout(wanted: ScoutRequest = ScoutRequest()) -> ScoutSent:  # noqa: B008  immutable
    task = scout.apply_async([wanted.feed], retry=False)
    return ScoutSent(task_id=task.id, feed=wanted.feed)
