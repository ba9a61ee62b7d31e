"""Feeds of deals: JSON lists that somebody publishes on the web, or that ship with the backend."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints, ValidationError, WithJsonSchema

from app.domain.deals import NewDeal
from app.domain.fields import normal_url

SECONDS = 30.0  # for a whole download
BYTES = 2_000_000
DEALS = 1000  # in one feed

# The only files that a feed's name can reach.
SHIPPED = {path.stem: path for path in (Path(__file__).parent / "feeds").glob("*.json")}


class BadFeed(Exception):
    """A feed cannot be had or read. The text names no part of its URL but the host."""


def check_name(feed: str) -> str:
    """The name of a shipped feed, or a normal http(s) URL. Raises ValueError."""
    return feed if feed in SHIPPED else normal_url(feed)


Feed = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(check_name),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": sorted(SHIPPED)},
                {
                    "type": "string",
                    "format": "uri",
                    "maxLength": 2000,
                    "pattern": "^https?://[A-Za-z0-9]",
                },
            ],
            "examples": ["sample"],
        }
    ),
]


def shown(feed: str) -> str:
    """A feed for the log: without path and query, which may hold a key."""
    return feed if feed in SHIPPED else str(urlsplit(feed).hostname)


def read(feed: str) -> tuple[list[NewDeal], int]:
    """The deals of a feed, and the number of its entries that are none. Raises `BadFeed`."""
    try:
        feed = check_name(feed)
    except ValueError:
        raise BadFeed("neither the name of a shipped feed nor an http(s) URL") from None
    text = SHIPPED[feed].read_bytes() if feed in SHIPPED else _download(feed)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFeed(f"{shown(feed)} is not JSON") from None
    if not isinstance(entries, list) or len(entries) > DEALS:
        raise BadFeed(f"{shown(feed)} is not a list of at most {DEALS} deals")
    deals = []
    for entry in entries:
        try:
            deals.append(NewDeal.model_validate(entry))
        except ValidationError:
            continue
    return deals, len(entries) - len(deals)


def _download(url: str) -> bytes:
    import httpx  # takes 0.15 s to import, and the API never downloads

    host = shown(url)
    deadline = time.monotonic() + SECONDS
    body = bytearray()
    try:
        with httpx.stream("GET", url, timeout=10) as response:
            if response.status_code != 200:
                raise BadFeed(f"{host} answered {response.status_code}")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > BYTES or time.monotonic() > deadline:
                    raise BadFeed(f"{host} sent more than {BYTES} bytes or took over {SECONDS:g} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadFeed(f"{host} cannot be read: {type(error).__name__}") from None
    return bytes(body)
