"""What clients are told when something is wrong, and what the log is told instead."""

from __future__ import annotations

import json
import logging

import kombu.exceptions
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from app.database import DATABASE_AWAY

RETRY_AFTER = "5"  # seconds

log = logging.getLogger("app")


class Problem(BaseModel):
    detail: str


UNREADABLE = {400: {"model": Problem, "description": "The body cannot be read"}}


def install(app: FastAPI) -> None:
    """Turn foreseen exceptions into answers."""
    for kind in DATABASE_AWAY:
        app.add_exception_handler(kind, _database_away)
    app.add_exception_handler(kombu.exceptions.OperationalError, _queue_away)
    app.add_exception_handler(RequestValidationError, _invalid)


def cause(error: Exception) -> str:
    """One line for the log, without the statement and its values."""
    text = str(getattr(error, "orig", None) or error)
    return (text.strip().splitlines() or [type(error).__name__])[0]


async def _database_away(request: Request, error: Exception) -> Response:
    return _away(request, error, "the database is not available")


async def _queue_away(request: Request, error: Exception) -> Response:
    return _away(request, error, "the task queue is not available")


def _away(request: Request, error: Exception, detail: str) -> Response:
    log.warning("%s %s: %s: %s", request.method, request.scope["route"].path, detail, cause(error))
    return JSONResponse({"detail": detail}, 503, {"Retry-After": RETRY_AFTER})


async def _invalid(_: Request, error: Exception) -> Response:
    # FastAPI's own handler repeats the input, which JSON in UTF-8 may be unable to hold.
    assert isinstance(error, RequestValidationError)
    detail = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")
