"""Feeds: built-in, on the web, and invalid."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from app.domain import scouting

SHOES = {
    "title": "Shoes",
    "url": "https://shop.example/shoes",
    "price": 49.9,
    "currency": "EUR",
    "source": "shop.example",
}

PAGES = {
    "/good": json.dumps([SHOES, SHOES | {"price": -1}, "shoes", SHOES | {"title": "A\0"}]).encode(),
    "/html": b"<html>",
    "/deep": b"[" * 100_000,
    "/object": b"{}",
    "/many": json.dumps([0] * 1001).encode(),
    "/large": b" " * 3_000_000,
}


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = PAGES.get(self.path.partition("?")[0])
        self.send_response(200 if page else 404)
        self.end_headers()
        self.wfile.write(page or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_sample_feed_has_only_valid_deals() -> None:
    deals, rejected = scouting.read("sample")
    assert (len(deals), rejected) == (12, 0)
    assert len({deal.url for deal in deals}) == 12


def test_feed_skips_and_counts_invalid_deals(site: str) -> None:
    deals, rejected = scouting.read(f"{site}/good")
    assert ([deal.title for deal in deals], rejected) == (["Shoes"], 3)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("html", "127.0.0.1 is not JSON"),
        ("deep", "127.0.0.1 is not JSON"),
        ("object", "127.0.0.1 is not a list of at most 1000 deals"),
        ("many", "127.0.0.1 is not a list of at most 1000 deals"),
        ("large", "127.0.0.1 sent more than 2000000 bytes or took over 30 s"),
        ("missing", "127.0.0.1 answered 404"),
    ],
)
def test_feed_is_rejected_with_a_reason(site: str, page: str, reason: str) -> None:
    with pytest.raises(scouting.BadFeed, match=f"^{reason}$"):
        scouting.read(f"{site}/{page}?key=secret")


@pytest.mark.parametrize(
    "feed",
    [
        "",
        "../settings",
        "/etc/passwd",
        "file:///etc/passwd",
        "sample.json",
        "http://u:p@a.example/",
    ],
)
def test_feed_name_cannot_read_another_file(feed: str) -> None:
    with pytest.raises(scouting.BadFeed, match=r"^neither the name of a built-in feed nor"):
        scouting.read(feed)


def test_feed_is_rejected_when_the_server_is_down() -> None:
    with pytest.raises(
        scouting.BadFeed, match=r"^download from 127\.0\.0\.1 failed: ConnectError$"
    ):
        scouting.read("http://127.0.0.1:1/feed?key=secret")
