"""Golden files of the HTTP responses of the backend."""

from __future__ import annotations

import contextlib
import functools
import http.client
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.support import goldens, placeholders

PATHS = ("/health", "/ready", "/ready?ahead=ok", "/live", "/migrations", "/overview", "/nowhere")

# Headers whose values differ from request to request.
_VARYING = {"content-length": "{length}", "date": "{date}"}


def declare(folder: str, *paths: str) -> dict[str, str]:
    """Declare the golden files of the backend in one state; return the URL path of each."""
    files = {f"{folder}/{_slug(path)}.txt": path for path in paths or PATHS}
    goldens.declare(files)
    return files


def _slug(path: str) -> str:
    return path.strip("/").replace("?", "-").replace("=", "-")


def check(files: Mapping[str, str], url: str, values: Mapping[str, str]) -> None:
    """Request each path and compare the responses."""
    goldens.compare(
        {
            file: goldens.read_until_equal(file, functools.partial(transcript, url, path, values))
            for file, path in files.items()
        }
    )


def transcript(url: str, path: str, values: Mapping[str, str]) -> str:
    """Request a path; return the response with status and headers, as the text of a golden file."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
    headers = [
        f"{name}: {_VARYING.get(name.lower(), value)}" for name, value in response.getheaders()
    ]
    lines = [f"GET {path}", "", f"{response.status} {response.reason}", *headers, "", ""]
    if "json" in response.headers.get("Content-Type", ""):
        content = placeholders.document(body, values)
    elif path == "/metrics":
        content = "".join(f"{line}\n" for line in _metrics(body))
    else:
        content = placeholders.text(body, values)
    return "\n".join(lines) + content


def _metrics(body: str) -> list[str]:
    """Return lines of Prometheus text; only deal-scout's own gauges keep their values."""
    lines = []
    for line in body.splitlines():
        if line.startswith(("# ", "deal_scout_up", "deal_scout_queue_depth", "deal_scout_schema")):
            lines.append(line)
        else:
            labels = re.sub(r'(major|minor|patchlevel|version)="[^"]*"', r'\1="{version}"', line)
            lines.append(f"{labels.rpartition(' ')[0]} {{value}}")
    # The client library adds these on Linux only.
    return [line for line in lines if "process_" not in line]
