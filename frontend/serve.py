"""The frontend where there is no nginx: the page in `public/`, and `/api/*` handed on to the backend.

Run it from the checkout's root, with BACKEND_URL saying where the backend is:

    BACKEND_URL=http://127.0.0.1:8000 \\
      python -m uvicorn serve:app --app-dir frontend --host 127.0.0.1 --port 8080 --no-access-log

In the image `nginx.conf.template` does the same; `tests/integration/frontend` holds both to it.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import string
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.datastructures import Headers as RequestHeaders
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC = Path(__file__).with_name("public")
MAX_BODY = 1024 * 1024
TIMEOUT = httpx.Timeout(30, connect=2)
RETRY_AFTER = 0.1  # seconds before the second try
SECURITY = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Of one connection, not of the message (RFC 9110, 7.6.1).
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
    *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
}
# What this server, or httpx, writes itself.
OURS_IN_REQUEST = {"host", "content-length", "expect", "x-forwarded-for", "forwarded"}
OURS_IN_RESPONSE = {"server", "date"}

# Windows takes these from the registry, where anything may stand; with nosniff that breaks a page.
for _type, _suffix in (
    ("text/html", ".html"),
    ("text/css", ".css"),
    ("text/javascript", ".js"),
    ("image/svg+xml", ".svg"),
):
    mimetypes.add_type(_type, _suffix)


class ResponseHeaders:
    """Puts the security headers on every response, and `no-cache` where nothing else was said."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY)
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Proxy:
    """Hands a request on to the backend and streams its answer back."""

    def __init__(self, backend: str, timeout: httpx.Timeout) -> None:
        self.backend = httpx.URL(backend.rstrip("/"))
        self.timeout = timeout

    async def answer(self, request: Request) -> Response:
        if _foreign(request):
            return _error(403, "this request comes from another site")
        if not _public(request.path_params["path"]):
            return _error(404, "not found")
        try:
            onward = self._onward(request, await _body(request, self.timeout.read))
            answer = await _send(request.state.client, onward)
        except _TooLarge:
            return _error(413, "the request is larger than 1 MiB")
        except (ClientDisconnect, TimeoutError):
            return _error(408, "the request did not arrive")
        except httpx.InvalidURL:
            return _error(414, "the address is too long")
        except httpx.TimeoutException:
            return _error(504, "the backend does not answer")
        except httpx.TransportError:
            return _error(502, "the backend does not answer")
        response = StreamingResponse(
            answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
        )
        response.raw_headers = [
            (name.lower(), self._public_location(value) if name.lower() == b"location" else value)
            for name, value in _end_to_end(answer.headers, OURS_IN_RESPONSE)
        ]
        return response

    def _onward(self, request: Request, body: bytes) -> httpx.Request:
        # The path is decoded once and encoded once, so that what was checked is what is asked for.
        path = self.backend.path.rstrip("/") + "/" + quote(request.path_params["path"])
        if query := request.scope["query_string"]:
            path += "?" + quote(query, safe=string.punctuation)
        headers = _end_to_end(request.headers, OURS_IN_REQUEST)
        names = {name for name, _ in headers}
        client = request.client.host if request.client else "unknown"
        hops = [*request.headers.getlist("x-forwarded-for"), client]
        headers.append((b"x-forwarded-for", ", ".join(hops).encode("latin-1")))
        for name, value in (
            (b"x-forwarded-proto", request.url.scheme),
            (b"x-forwarded-host", request.headers.get("host", "")),
        ):
            if name not in names:  # else a proxy in front of us knows better
                headers.append((name, value.encode("latin-1")))
        return httpx.Request(
            request.method,
            self.backend.copy_with(raw_path=path.encode("ascii")),
            headers=headers,
            content=body or None,
            extensions={"timeout": self.timeout.as_dict()},
        )

    def _public_location(self, location: bytes) -> bytes:
        """Where a redirect of the backend leads, as seen from outside."""
        parts = urlsplit(location)
        if parts.netloc not in (b"", self.backend.netloc) or not parts.path.startswith(b"/"):
            return location
        return b"/api" + parts._replace(scheme=b"", netloc=b"").geturl()


def _foreign(request: Request) -> bool:
    """Whether another site's page makes the visitor's browser change something here."""
    return request.method not in ("GET", "HEAD") and request.headers.get("sec-fetch-site") in (
        "cross-site",
        "same-site",
    )


def _public(path: str) -> bool:
    """Whether the backend's `/path` is for everybody: its metrics are not."""
    parts = path.split("/")
    return parts[0] != "metrics" and not {"", ".", ".."}.intersection(parts)


class _TooLarge(Exception):
    pass


async def _body(request: Request, seconds: float | None) -> bytes:
    """The whole request body: small, so that a try can be repeated."""
    body = bytearray()
    async with asyncio.timeout(seconds):
        if int(request.headers.get("content-length", 0)) > MAX_BODY:
            raise _TooLarge
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise _TooLarge
    return bytes(body)


async def _send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """The head of the answer. A read is tried twice: the backend may just have been restarted."""
    try:
        return await client.send(request, stream=True)
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        if request.method not in ("GET", "HEAD"):
            raise
    await asyncio.sleep(RETRY_AFTER)
    return await client.send(request, stream=True)


def _end_to_end(
    headers: httpx.Headers | RequestHeaders, without: set[str]
) -> list[tuple[bytes, bytes]]:
    """The headers that are for the other end, and not for this connection."""
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    dropped = {name.encode("latin-1") for name in HOP_BY_HOP | without | named}
    return [(name, value) for name, value in headers.raw if name.lower() not in dropped]


def _error(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"cache-control": "no-store"})


async def healthz(_: Request) -> Response:
    """Says that this process serves; it asks nobody else."""
    return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})


def make_app(backend: str, timeout: httpx.Timeout = TIMEOUT) -> Starlette:
    """The frontend for the backend at this URL."""
    if urlsplit(backend).scheme not in ("http", "https") or not urlsplit(backend).hostname:
        raise SystemExit("BACKEND_URL is not a web address: try http://127.0.0.1:8000")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
        # trust_env=False: a proxy for the internet must not get what is for the backend.
        async with httpx.AsyncClient(trust_env=False) as client:
            yield {"client": client}

    proxy = Proxy(backend, timeout)
    return Starlette(
        lifespan=lifespan,
        middleware=[Middleware(ResponseHeaders)],
        routes=[
            Route("/healthz", healthz),
            Route("/api/{path:path}", proxy.answer, methods=["GET", "POST", "DELETE"]),  # and HEAD
            Mount("/", StaticFiles(directory=PUBLIC, html=True)),
        ],
    )


app = make_app(os.environ.get("BACKEND_URL") or "http://127.0.0.1:8000")
