"""Behaviour of both servers of the frontend, `serve.py` and nginx."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.servers import free_port, wait_until
from tests.integration.frontend.conftest import FRONTEND, Site, fake_backend, frontend

TYPES = {
    "": "text/html",
    "index.html": "text/html",
    "app.js": "text/javascript",
    "style.css": "text/css",
    "favicon.svg": "image/svg+xml",
}
SECURITY = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def request_raw(site: Site, path: str, method: str = "GET") -> tuple[int, str]:
    """Return the status and body for a path that is sent unchanged; httpx would normalize it."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


def headers(echoed: httpx.Response) -> dict[str, str]:
    """Return the headers of the request to the backend."""
    pairs = echoed.json()["headers"]
    unique = dict(pairs)
    assert len(unique) == len(pairs), f"duplicate header: {pairs}"
    return unique


# The page


@pytest.mark.parametrize("name", TYPES)
def test_page_is_served(site: Site, client: httpx.Client, name: str) -> None:
    response = client.get(f"{site.url}/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == TYPES[name]
    assert response.content == (FRONTEND / "public" / (name or "index.html")).read_bytes()
    assert client.head(f"{site.url}/{name}").status_code == 200


def test_page_is_revalidated(site: Site, client: httpx.Client) -> None:
    first = client.get(f"{site.url}/app.js")
    assert first.headers["cache-control"] == "no-cache"
    second = client.get(f"{site.url}/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 304
    assert not second.content


def test_page_is_read_only(site: Site, client: httpx.Client) -> None:
    assert client.post(f"{site.url}/app.js", content=b"x").status_code == 405
    assert client.delete(f"{site.url}/").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/", "/app.js", "/nowhere", "/healthz", "/api/deals", "/api/framed", "/api/metrics"],
)
def test_responses_have_security_headers(site: Site, client: httpx.Client, path: str) -> None:
    response = client.get(f"{site.url}{path}")
    assert SECURITY.items() <= dict(response.headers).items()
    [policy] = response.headers.get_list("content-security-policy")
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/../serve.py",
        "/../../pyproject.toml",
        "/%2e%2e/serve.py",
        "/..%2fserve.py",
        "/%2e%2e%2f%2e%2e%2fpyproject.toml",
        "/..%5cserve.py",
        "/.%00./serve.py",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/app.js/../../serve.py",
        "/app.js%00.html",
        "/serve.py",
        "/public/index.html",
        "/" + "x" * 4000,
    ],
)
def test_page_is_served_from_the_public_folder_only(site: Site, path: str) -> None:
    status, body = request_raw(site, path)
    assert status in (400, 404, 414)
    assert "import" not in body
    assert "root:" not in body


def test_healthz_needs_no_backend(site_without_backend: Site, client: httpx.Client) -> None:
    response = client.get(f"{site_without_backend.url}/healthz")
    assert (response.status_code, response.text) == (200, "ok\n")
    assert response.headers["cache-control"] in ("no-store", "no-cache")


# Requests that are forwarded


def test_proxy_forwards_a_request(site: Site, backend: Site, client: httpx.Client) -> None:
    response = client.post(
        f"{site.url}/api/deals/7?q=a%20b&x=%26+c&x=",
        json={"title": "ü"},
        headers={"Sec-Fetch-Site": "same-origin", "Authorization": "Bearer x"},
    )
    assert response.status_code == 200
    echoed = response.json()
    assert echoed["method"] == "POST"
    assert echoed["path"] == "/deals/7"
    assert echoed["query"] == "q=a%20b&x=%26+c&x="
    assert echoed["size"] == len(response.request.content)
    forwarded = headers(response)
    assert forwarded["host"] == f"127.0.0.1:{backend.port}"
    assert forwarded["content-type"] == "application/json"
    assert forwarded["authorization"] == "Bearer x"
    assert forwarded["x-forwarded-for"] == "127.0.0.1"
    assert forwarded["x-forwarded-host"] == f"127.0.0.1:{site.port}"
    assert forwarded["x-forwarded-proto"] == "http"


def test_proxy_trusts_the_headers_of_a_proxy_in_front(site: Site, client: httpx.Client) -> None:
    outer = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Host": "deals.example",
        "X-Forwarded-Proto": "https",
    }
    forwarded = headers(client.get(f"{site.url}/api/deals", headers=outer))
    assert forwarded["x-forwarded-for"].startswith("192.0.2.7, ")
    assert forwarded["x-forwarded-host"] == "deals.example"
    assert forwarded["x-forwarded-proto"] == "https"


def test_proxy_forwards_special_characters_in_paths(site: Site, client: httpx.Client) -> None:
    assert client.get(f"{site.url}/api/d%C3%A4/a%20b%3Fc").json()["path"] == "/d%C3%A4/a%20b%3Fc"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_proxy_forwards_the_method(site: Site, client: httpx.Client, method: str) -> None:
    assert client.request(method, f"{site.url}/api/deals").json()["method"] == method


def test_proxy_answers_head_without_a_body(site: Site, client: httpx.Client) -> None:
    response = client.head(f"{site.url}/api/health")
    assert response.status_code == 503
    assert not response.content


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS"])
def test_proxy_rejects_other_methods(site: Site, client: httpx.Client, method: str) -> None:
    assert client.request(method, f"{site.url}/api/deals").status_code == 405


def test_proxy_returns_responses_unchanged(site: Site, client: httpx.Client) -> None:
    health = client.get(f"{site.url}/api/health")
    assert (health.status_code, health.json()) == (503, {"ok": False, "db": False})
    assert health.headers["cache-control"] == "no-store"
    busy = client.get(f"{site.url}/api/busy")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert busy.json() == {"detail": "the database is away"}
    assert client.delete(f"{site.url}/api/empty").status_code == 204
    deals = client.get(f"{site.url}/api/deals")
    assert deals.headers["x-response"] == "yes"
    assert deals.headers["cache-control"] == "no-cache"
    assert len(deals.headers.get_list("date")) == 1


def test_proxy_drops_hop_by_hop_headers(site: Site, client: httpx.Client) -> None:
    response = client.get(f"{site.url}/api/deals", headers={"TE": "trailers", "Keep-Alive": "9"})
    assert not {"te", "keep-alive", "transfer-encoding"} & headers(response).keys()
    assert "upgrade" not in response.headers


def test_proxy_does_not_change_the_compression(site: Site, client: httpx.Client) -> None:
    compressed = client.get(f"{site.url}/api/compressed")
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.text == "much " * 100
    _, echoed = request_raw(site, "/api/deals")
    assert "accept-encoding" not in echoed


def test_proxy_does_not_store_cookies(site: Site, client: httpx.Client) -> None:
    assert client.get(f"{site.url}/api/framed").headers["set-cookie"] == "a=1"
    client.cookies.clear()
    assert "cookie" not in headers(client.get(f"{site.url}/api/deals"))


@pytest.mark.parametrize(
    ("to", "location"),
    [
        ("/deals/5?a=b", "/api/deals/5?a=b"),
        ("{backend}/deals/5", "/api/deals/5"),
        ("https://example.com/x", "https://example.com/x"),
    ],
)
def test_proxy_rewrites_redirects(
    site: Site, backend: Site, client: httpx.Client, to: str, location: str
) -> None:
    to = to.format(backend=backend.url)
    response = client.get(f"{site.url}/api/redirect", params={"to": to})
    assert response.status_code == 307
    # nginx makes its own redirects absolute, which is equivalent.
    assert response.headers["location"].removeprefix(site.url) == location


# Requests that are rejected


@pytest.mark.parametrize(
    "path",
    [
        "/api/metrics",
        "/api/metrics/",
        "/api/metrics?x=1",
        "/api/%6detrics",
        "/api/./metrics",
        "/api/x/../metrics",
        "/api/%2e/metrics",
        "/api//metrics",
        "/api%2Fmetrics",
        "/%61pi/metrics",
        "/api/metrics/x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_proxy_rejects_requests_for_metrics(site: Site, path: str, method: str) -> None:
    assert request_raw(site, path, method)[0] in (400, 404)


def test_proxy_decodes_a_path_once(site: Site) -> None:
    status, body = request_raw(site, "/api/%256detrics")
    assert status == 404 or '"path":"/%256detrics"' in body


@pytest.mark.parametrize("origin", ["cross-site", "same-site"])
def test_proxy_rejects_changes_by_other_sites(
    site: Site, client: httpx.Client, origin: str
) -> None:
    cross_site = {"Sec-Fetch-Site": origin}
    for method in ("POST", "DELETE"):
        response = client.request(method, f"{site.url}/api/scouts", headers=cross_site)
        assert response.status_code == 403
        assert response.json() == {"detail": "this request comes from another site"}
    assert client.get(f"{site.url}/api/deals", headers=cross_site).status_code == 200


def test_proxy_accepts_a_body_of_one_mebibyte(site: Site, client: httpx.Client) -> None:
    response = client.post(f"{site.url}/api/deals", content=b"x" * 2**20)
    assert response.json()["size"] == 2**20


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 2**14):
        yield b"x" * 2**14


@pytest.mark.parametrize("body", [b"x" * (2**20 + 1), "chunked"])
def test_proxy_rejects_a_larger_body(site: Site, client: httpx.Client, body: bytes | str) -> None:
    content = chunks(2**21) if body == "chunked" else body
    response = client.post(f"{site.url}/api/deals", content=content)
    assert response.status_code == 413
    assert response.json() == {"detail": "the request is larger than 1 MiB"}


# Without a backend


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_proxy_answers_502_without_a_backend(
    site_without_backend: Site, client: httpx.Client, method: str
) -> None:
    started_at = time.monotonic()
    response = client.request(method, f"{site_without_backend.url}/api/health")
    assert response.status_code == 502
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"detail": "the backend does not answer"}
    assert SECURITY.items() <= dict(response.headers).items()
    assert time.monotonic() - started_at < 2.5


@pytest.mark.parametrize("kind", ["serve", "nginx"])
def test_proxy_recovers_when_the_backend_restarts(
    kind: str, tmp_path: Path, client: httpx.Client
) -> None:
    port = free_port()
    with frontend(kind, tmp_path, f"http://127.0.0.1:{port}") as site:

        def status() -> int:
            return client.get(f"{site.url}/api/deals").status_code

        assert status() == 502
        for _ in range(2):
            with fake_backend(tmp_path, port):
                wait_until("the backend answers", lambda: status() == 200)
            assert status() == 502
