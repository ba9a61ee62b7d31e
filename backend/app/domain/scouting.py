"""Feeds of deals: JSON lists on the web, or in files that are part of the backend."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints, ValidationError, WithJsonSchema

from app.domain.deals import NewDeal
from app.domain.fields import normalize_url

DOWNLOAD_TIMEOUT = 30.0  # seconds
MAX_BYTES = 2_000_000
MAX_DEALS = 1000  # in one feed

# The only files that can be read by name.
BUILT_IN = {path.stem: path for path in (Path(__file__).parent / "feeds").glob("*.json")}


class BadFeed(Exception):
    """A feed cannot be downloaded or parsed. The message has no part of its URL but the host."""


def normalize(feed: str) -> str:
    """Return the name of a built-in feed, or a normalized http(s) URL. Raises `ValueError`."""
    return feed if feed in BUILT_IN else normalize_url(feed)


Feed = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(normalize),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": sorted(BUILT_IN)},
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


def display_name(feed: str) -> str:
    """Return a feed's name for the log, without path and query, which may contain a key."""
    return feed if feed in BUILT_IN else str(urlsplit(feed).hostname)


def read(feed: str) -> tuple[list[NewDeal], int]:
    """Return the deals of a feed and the number of invalid entries. Raises `BadFeed`."""
    try:
        feed = normalize(feed)
    except ValueError:
        raise BadFeed("neither the name of a built-in feed nor an http(s) URL") from None
    text = BUILT_IN[feed].read_bytes() if feed in BUILT_IN else _download(feed)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFeed(f"{display_name(feed)} is not JSON") from None
    if not isinstance(entries, list) or len(entries) > MAX_DEALS:
        raise BadFeed(f"{display_name(feed)} is not a list of at most {MAX_DEALS} deals")
    deals = []
    for entry in entries:
        try:
            deals.append(NewDeal.model_validate(entry))
        except ValidationError:
            continue
    return deals, len(entries) - len(deals)


def _download(url: str) -> bytes:
    import httpx  # takes 0.15 s to import, and the API never downloads

    host = display_name(url)
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT
    body = bytearray()
    try:
        with httpx.stream("GET", url, timeout=10) as response:
            if response.status_code != 200:
                raise BadFeed(f"{host} answered {response.status_code}")
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_BYTES or time.monotonic() > deadline:
                    raise BadFeed(
                        f"{host} sent more than {MAX_BYTES} bytes or took over {DOWNLOAD_TIMEOUT:g} s"
                    )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadFeed(f"download from {host} failed: {type(error).__name__}") from None
    return bytes(body)
