r"""The frontend without nginx: serves the page in `public/` and proxies `/api/*` to the backend.

Run it in the root of the checkout:

    BACKEND_URL=http://127.0.0.1:8000 \
      python -m uvicorn serve:app --app-dir frontend --host 127.0.0.1 --port 8080 --no-access-log

In the image `nginx.conf.template` does the same; `tests/integration/frontend` tests both.
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
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC = Path(__file__).with_name("public")
MAX_BODY = 1024 * 1024
TIMEOUT = httpx.Timeout(30, connect=2)  # seconds
RETRY_DELAY = 0.1  # seconds before the second attempt
SECURITY = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Headers of one connection, not of the message (RFC 9110, 7.6.1).
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
    *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
}
# Headers that this server or httpx sets.
REPLACED_IN_REQUEST = {"host", "content-length", "expect", "x-forwarded-for", "forwarded"}
REPLACED_IN_RESPONSE = {"server", "date"}

# Windows reads these types from the registry. A wrong one breaks the page because of nosniff.
for _type, _suffix in (
    ("text/html", ".html"),
    ("text/css", ".css"),
    ("text/javascript", ".js"),
    ("image/svg+xml", ".svg"),
):
    mimetypes.add_type(_type, _suffix)


class ResponseHeaders:
    """ASGI middleware that adds the security headers, and `no-cache` by default."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY)
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Proxy:
    """Forwards requests to the backend and streams the responses back."""

    def __init__(self, backend: str, timeout: httpx.Timeout) -> None:
        self.backend = httpx.URL(backend.rstrip("/"))
        self.timeout = timeout

    async def handle(self, request: Request) -> Response:  # noqa: PLR0911 - one for each failure
        """Forward a request, or return an error response."""
        if _is_cross_site(request):
            return _error(403, "this request comes from another site")
        if not _is_public(request.path_params["path"]):
            return _error(404, "not found")
        try:
            backend_request = self._backend_request(
                request, await _read_body(request, self.timeout.read)
            )
            backend_response = await _send(request.state.client, backend_request)
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
            backend_response.aiter_raw(),
            backend_response.status_code,
            background=BackgroundTask(backend_response.aclose),
        )
        response.raw_headers = [
            (name.lower(), self._public_location(value) if name.lower() == b"location" else value)
            for name, value in _end_to_end(backend_response.headers, REPLACED_IN_RESPONSE)
        ]
        return response

    def _backend_request(self, request: Request, body: bytes) -> httpx.Request:
        # Encoding the path that was decoded and checked ensures that this path is requested.
        path = self.backend.path.rstrip("/") + "/" + quote(request.path_params["path"])
        if query := request.scope["query_string"]:
            path += "?" + quote(query, safe=string.punctuation)
        headers = _end_to_end(request.headers, REPLACED_IN_REQUEST)
        names = {name for name, _ in headers}
        client = request.client.host if request.client else "unknown"
        hops = [*request.headers.getlist("x-forwarded-for"), client]
        headers.append((b"x-forwarded-for", ", ".join(hops).encode("latin-1")))
        for name, value in (
            (b"x-forwarded-proto", request.url.scheme),
            (b"x-forwarded-host", request.headers.get("host", "")),
        ):
            if name not in names:  # a proxy in front of this server may have set it
                headers.append((name, value.encode("latin-1")))
        return httpx.Request(
            request.method,
            self.backend.copy_with(raw_path=path.encode("ascii")),
            headers=headers,
            content=body or None,
            extensions={"timeout": self.timeout.as_dict()},
        )

    def _public_location(self, location: bytes) -> bytes:
        """Return the public address for a redirect of the backend."""
        parts = urlsplit(location)
        if parts.netloc not in (b"", self.backend.netloc) or not parts.path.startswith(b"/"):
            return location
        return b"/api" + parts._replace(scheme=b"", netloc=b"").geturl()


def _is_cross_site(request: Request) -> bool:
    """Return True if another site makes the user's browser send a request that changes data."""
    return request.method not in ("GET", "HEAD") and request.headers.get("sec-fetch-site") in (
        "cross-site",
        "same-site",
    )


def _is_public(path: str) -> bool:
    """Return False for paths of the backend that are not public, such as its metrics."""
    parts = path.split("/")
    return parts[0] != "metrics" and not {"", ".", ".."}.intersection(parts)


class _TooLarge(Exception):
    pass


async def _read_body(request: Request, timeout: float | None) -> bytes:
    """Read the whole body into memory, so that the request can be repeated."""
    body = bytearray()
    async with asyncio.timeout(timeout):
        if int(request.headers.get("content-length", 0)) > MAX_BODY:
            raise _TooLarge
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise _TooLarge
    return bytes(body)


async def _send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Return the response without its body. Retries GET and HEAD once: the backend may be restarting."""
    try:
        return await client.send(request, stream=True)
    except (httpx.NetworkError, httpx.RemoteProtocolError):
        if request.method not in ("GET", "HEAD"):
            raise
    await asyncio.sleep(RETRY_DELAY)
    return await client.send(request, stream=True)


def _end_to_end(headers: httpx.Headers | Headers, excluded: set[str]) -> list[tuple[bytes, bytes]]:
    """Return the end-to-end headers: those of this connection are not forwarded."""
    connection = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    dropped = {name.encode("latin-1") for name in HOP_BY_HOP | excluded | connection}
    return [(name, value) for name, value in headers.raw if name.lower() not in dropped]


def _error(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"cache-control": "no-store"})


async def healthz(_: Request) -> Response:
    """Return 200 while this process serves; does not check the backend."""
    return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})


def make_app(backend: str, timeout: httpx.Timeout = TIMEOUT) -> Starlette:
    """Create the frontend for the backend at this URL. Raises `SystemExit` if it is invalid."""
    if urlsplit(backend).scheme not in ("http", "https") or not urlsplit(backend).hostname:
        raise SystemExit("BACKEND_URL is not an http(s) URL: try http://127.0.0.1:8000")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
        # trust_env=False: requests to the backend must not go through a proxy.
        async with httpx.AsyncClient(trust_env=False) as client:
            yield {"client": client}

    proxy = Proxy(backend, timeout)
    return Starlette(
        lifespan=lifespan,
        middleware=[Middleware(ResponseHeaders)],
        routes=[
            Route("/healthz", healthz),
            Route("/api/{path:path}", proxy.handle, methods=["GET", "POST", "DELETE"]),  # and HEAD
            Mount("/", StaticFiles(directory=PUBLIC, html=True)),
        ],
    )


app = make_app(os.environ.get("BACKEND_URL") or "http://127.0.0.1:8000")
