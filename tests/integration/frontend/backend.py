"""A fake backend: echoes requests, and returns a few unusual responses on some paths."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route


async def echo(request: Request) -> Response:
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "path": request.scope["raw_path"].decode("ascii"),
            "query": request.scope["query_string"].decode("ascii"),
            "headers": [
                (name.decode(), value.decode("latin-1")) for name, value in request.headers.raw
            ],
            "size": len(body),
        },
        headers={"X-Response": "yes"},
    )


async def health(_: Request) -> Response:
    return JSONResponse({"ok": False, "db": False}, 503, {"Cache-Control": "no-store"})


async def busy(_: Request) -> Response:
    return JSONResponse({"detail": "the database is away"}, 503, {"Retry-After": "5"})


async def empty(_: Request) -> Response:
    return Response(status_code=204)


async def redirect(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"])


async def compressed(_: Request) -> Response:
    return Response(gzip.compress(b"much " * 100), headers={"Content-Encoding": "gzip"})


async def framed(_: Request) -> Response:
    return Response(
        "x", headers={"Content-Security-Policy": "frame-ancestors *", "Set-Cookie": "a=1"}
    )


async def slow(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first "
        await asyncio.sleep(2)
        yield b"last"

    return StreamingResponse(parts())


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/busy", busy),
        Route("/empty", empty, methods=["DELETE"]),
        Route("/redirect", redirect),
        Route("/compressed", compressed),
        Route("/framed", framed),
        Route("/slow", slow),
        Route("/{path:path}", echo, methods=["GET", "POST", "DELETE", "PUT", "PATCH"]),
    ]
)
