"""What the frontend's server does, whichever of the two it is."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.servers import free_port, wait_until
from tests.integration.frontend.conftest import FRONTEND, Site, frontend, stand_in

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


def ask_raw(site: Site, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body for a path that is sent as it stands: other clients would tidy it up."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()


def headers(echoed: httpx.Response) -> dict[str, str]:
    """The request's headers as the backend saw them."""
    pairs = echoed.json()["headers"]
    seen = dict(pairs)
    assert len(seen) == len(pairs), f"a header came twice: {pairs}"
    return seen


# The page


@pytest.mark.parametrize("name", TYPES)
def test_assets(site: Site, client: httpx.Client, name: str) -> None:
    answer = client.get(f"{site.url}/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == TYPES[name]
    assert answer.content == (FRONTEND / "public" / (name or "index.html")).read_bytes()
    assert client.head(f"{site.url}/{name}").status_code == 200


def test_assets_are_revalidated(site: Site, client: httpx.Client) -> None:
    first = client.get(f"{site.url}/app.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get(f"{site.url}/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


def test_assets_cannot_be_changed(site: Site, client: httpx.Client) -> None:
    assert client.post(f"{site.url}/app.js", content=b"x").status_code == 405
    assert client.delete(f"{site.url}/").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/", "/app.js", "/nowhere", "/healthz", "/api/deals", "/api/framed", "/api/metrics"],
)
def test_security_headers(site: Site, client: httpx.Client, path: str) -> None:
    answer = client.get(f"{site.url}{path}")
    assert SECURITY.items() <= dict(answer.headers).items()
    [policy] = answer.headers.get_list("content-security-policy")
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
def test_only_the_public_folder_is_served(site: Site, path: str) -> None:
    status, body = ask_raw(site, path)
    assert status in (400, 404, 414)
    assert "import" not in body
    assert "root:" not in body


def test_healthz_needs_no_backend(lonely: Site, client: httpx.Client) -> None:
    answer = client.get(f"{lonely.url}/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["cache-control"] in ("no-store", "no-cache")


# What is handed on


def test_a_request_is_handed_on(site: Site, backend: Site, client: httpx.Client) -> None:
    answer = client.post(
        f"{site.url}/api/deals/7?q=a%20b&x=%26+c&x=",
        json={"title": "ü"},
        headers={"Sec-Fetch-Site": "same-origin", "Authorization": "Bearer x"},
    )
    assert answer.status_code == 200
    echoed = answer.json()
    assert echoed["method"] == "POST"
    assert echoed["path"] == "/deals/7"
    assert echoed["query"] == "q=a%20b&x=%26+c&x="
    assert echoed["size"] == len(answer.request.content)
    seen = headers(answer)
    assert seen["host"] == f"127.0.0.1:{backend.port}"
    assert seen["content-type"] == "application/json"
    assert seen["authorization"] == "Bearer x"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-host"] == f"127.0.0.1:{site.port}"
    assert seen["x-forwarded-proto"] == "http"


def test_a_proxy_in_front_is_believed(site: Site, client: httpx.Client) -> None:
    outer = {
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Host": "deals.example",
        "X-Forwarded-Proto": "https",
    }
    seen = headers(client.get(f"{site.url}/api/deals", headers=outer))
    assert seen["x-forwarded-for"].startswith("192.0.2.7, ")
    assert seen["x-forwarded-host"] == "deals.example"
    assert seen["x-forwarded-proto"] == "https"


def test_paths_with_odd_characters(site: Site, client: httpx.Client) -> None:
    assert client.get(f"{site.url}/api/d%C3%A4/a%20b%3Fc").json()["path"] == "/d%C3%A4/a%20b%3Fc"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_methods(site: Site, client: httpx.Client, method: str) -> None:
    assert client.request(method, f"{site.url}/api/deals").json()["method"] == method


def test_head(site: Site, client: httpx.Client) -> None:
    answer = client.head(f"{site.url}/api/health")
    assert answer.status_code == 503
    assert not answer.content


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(site: Site, client: httpx.Client, method: str) -> None:
    assert client.request(method, f"{site.url}/api/deals").status_code == 405


def test_answers_come_back_as_they_are(site: Site, client: httpx.Client) -> None:
    health = client.get(f"{site.url}/api/health")
    assert (health.status_code, health.json()) == (503, {"ok": False, "db": False})
    assert health.headers["cache-control"] == "no-store"
    busy = client.get(f"{site.url}/api/busy")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert busy.json() == {"detail": "the database is away"}
    assert client.delete(f"{site.url}/api/gone").status_code == 204
    deals = client.get(f"{site.url}/api/deals")
    assert deals.headers["x-answer"] == "yes"
    assert deals.headers["cache-control"] == "no-cache"
    assert len(deals.headers.get_list("date")) == 1


def test_headers_of_one_connection_stay_there(site: Site, client: httpx.Client) -> None:
    answer = client.get(f"{site.url}/api/deals", headers={"TE": "trailers", "Keep-Alive": "9"})
    assert not {"te", "keep-alive", "transfer-encoding"} & headers(answer).keys()
    assert "upgrade" not in answer.headers


def test_compression_is_left_to_both_ends(site: Site, client: httpx.Client) -> None:
    zipped = client.get(f"{site.url}/api/zipped")
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.text == "much " * 100
    _, plain = ask_raw(site, "/api/deals")
    assert "accept-encoding" not in plain


def test_cookies_stay_with_their_visitor(site: Site, client: httpx.Client) -> None:
    assert client.get(f"{site.url}/api/framed").headers["set-cookie"] == "a=1"
    client.cookies.clear()
    assert "cookie" not in headers(client.get(f"{site.url}/api/deals"))


@pytest.mark.parametrize(
    ("to", "seen"),
    [
        ("/deals/5?a=b", "/api/deals/5?a=b"),
        ("{backend}/deals/5", "/api/deals/5"),
        ("https://example.com/x", "https://example.com/x"),
    ],
)
def test_redirects(site: Site, backend: Site, client: httpx.Client, to: str, seen: str) -> None:
    to = to.format(backend=backend.url)
    answer = client.get(f"{site.url}/api/moved", params={"to": to})
    assert answer.status_code == 307
    # nginx makes its own redirects absolute, which means the same.
    assert answer.headers["location"].removeprefix(site.url) == seen


# What is not


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
def test_metrics_are_not_public(site: Site, path: str, method: str) -> None:
    assert ask_raw(site, path, method)[0] in (400, 404)


def test_a_path_is_decoded_once(site: Site) -> None:
    status, body = ask_raw(site, "/api/%256detrics")
    assert status == 404 or '"path":"/%256detrics"' in body


@pytest.mark.parametrize("origin", ["cross-site", "same-site"])
def test_another_site_changes_nothing(site: Site, client: httpx.Client, origin: str) -> None:
    foreign = {"Sec-Fetch-Site": origin}
    for method in ("POST", "DELETE"):
        answer = client.request(method, f"{site.url}/api/scouts", headers=foreign)
        assert answer.status_code == 403
        assert answer.json() == {"detail": "this request comes from another site"}
    assert client.get(f"{site.url}/api/deals", headers=foreign).status_code == 200


def test_a_body_may_have_one_mebibyte(site: Site, client: httpx.Client) -> None:
    answer = client.post(f"{site.url}/api/deals", content=b"x" * 2**20)
    assert answer.json()["size"] == 2**20


def in_pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // 2**14):
        yield b"x" * 2**14


@pytest.mark.parametrize("body", [b"x" * (2**20 + 1), "pieces"])
def test_a_larger_body_is_refused(site: Site, client: httpx.Client, body: bytes | str) -> None:
    content = in_pieces(2**21) if body == "pieces" else body
    answer = client.post(f"{site.url}/api/deals", content=content)
    assert answer.status_code == 413
    assert answer.json() == {"detail": "the request is larger than 1 MiB"}


# A backend that is away


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_no_backend(lonely: Site, client: httpx.Client, method: str) -> None:
    started = time.monotonic()
    answer = client.request(method, f"{lonely.url}/api/health")
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"detail": "the backend does not answer"}
    assert SECURITY.items() <= dict(answer.headers).items()
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("kind", ["serve", "nginx"])
def test_the_backend_comes_and_goes(kind: str, tmp_path: Path, client: httpx.Client) -> None:
    port = free_port()
    with frontend(kind, tmp_path, f"http://127.0.0.1:{port}") as site:

        def status() -> int:
            return client.get(f"{site.url}/api/deals").status_code

        assert status() == 502
        for _ in range(2):
            with stand_in(tmp_path, port):
                wait_until("the backend is found", lambda: status() == 200)
            assert status() == 502
