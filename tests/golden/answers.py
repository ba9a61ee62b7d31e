"""Golden files of what the backend answers over HTTP."""

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
    """Return the golden files of one state of the backend: the path asked for, by file."""
    files = {f"{folder}/{_slug(path)}.txt": path for path in paths or PATHS}
    goldens.declare(files)
    return files


def _slug(path: str) -> str:
    return path.strip("/").replace("?", "-").replace("=", "-")


def check(files: Mapping[str, str], url: str, names: Mapping[str, str]) -> None:
    """Ask for each path, and compare the answers."""
    goldens.compare(
        {
            file: goldens.settled(file, functools.partial(transcript, url, path, names))
            for file, path in files.items()
        }
    )


def transcript(url: str, path: str, names: Mapping[str, str]) -> str:
    """Return an answer, with its status and headers, as the text of a golden file."""
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
        shown = placeholders.document(body, names)
    elif path == "/metrics":
        shown = "".join(f"{line}\n" for line in _metrics(body))
    else:
        shown = placeholders.text(body, names)
    return "\n".join(lines) + shown


def _metrics(body: str) -> list[str]:
    """Prometheus text; only deal-scout's own gauges have the same values in each run."""
    lines = []
    for line in body.splitlines():
        if line.startswith(("# ", "deal_scout_up", "deal_scout_queue_depth", "deal_scout_schema")):
            lines.append(line)
        else:
            labels = re.sub(r'(major|minor|patchlevel|version)="[^"]*"', r'\1="{version}"', line)
            lines.append(f"{labels.rpartition(' ')[0]} {{value}}")
    # The client library adds these on Linux only.
    return [line for line in lines if "process_" not in line]
