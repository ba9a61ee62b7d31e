"""Error responses for clients, and the details for the log."""

from __future__ import annotations

import json
import logging
from typing import Any

import kombu.exceptions
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from app.database import DATABASE_UNAVAILABLE

RETRY_AFTER = "5"  # seconds

log = logging.getLogger("app")


class Problem(BaseModel):
    """The body of an error response."""

    detail: str


Responses = dict[int | str, dict[str, Any]]  # FastAPI's type

INVALID_BODY: Responses = {400: {"model": Problem, "description": "The body cannot be parsed"}}


def install(app: FastAPI) -> None:
    """Install handlers that turn expected exceptions into responses."""
    for error_type in DATABASE_UNAVAILABLE:
        app.add_exception_handler(error_type, _database_unavailable)
    app.add_exception_handler(kombu.exceptions.OperationalError, _queue_unavailable)
    app.add_exception_handler(RequestValidationError, _invalid_request)


def cause(error: Exception) -> str:
    """Return one line for the log, without the statement and its values."""
    text = str(getattr(error, "orig", None) or error)
    return (text.strip().splitlines() or [type(error).__name__])[0]


async def _database_unavailable(request: Request, error: Exception) -> Response:
    return _unavailable(request, error, "the database is not available")


async def _queue_unavailable(request: Request, error: Exception) -> Response:
    return _unavailable(request, error, "the task queue is not available")


def _unavailable(request: Request, error: Exception, detail: str) -> Response:
    log.warning("%s %s: %s: %s", request.method, request.scope["route"].path, detail, cause(error))
    return JSONResponse({"detail": detail}, 503, {"Retry-After": RETRY_AFTER})


async def _invalid_request(_: Request, error: Exception) -> Response:
    # FastAPI's own handler repeats the input, which may not be encodable as UTF-8.
    assert isinstance(error, RequestValidationError)
    detail = [{key: item[key] for key in ("type", "loc", "msg")} for item in error.errors()]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")
