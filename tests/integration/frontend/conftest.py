"""Run the frontend as a process: `serve.py`, and nginx where it is installed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from harness.servers import clean_environment, free_port

ROOT = Path(__file__).parents[3]
FRONTEND = ROOT / "frontend"
# Nothing listens there, so a client that uses these variables fails.
NOWHERE = "http://127.0.0.1:1"
PROXIES = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"), NOWHERE)


@dataclass
class Site:
    """A server on a port of this machine."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, **environment: str) -> Iterator[Site]:
    """Run a process during the `with` block, and wait until its port answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=clean_environment(**environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(
                    f"{command} does not run:\n{log.read_text('utf-8', 'replace')}"
                )
            time.sleep(0.05)
        yield Site(port)
    finally:
        process.terminate()
        process.wait(10)


def uvicorn(app: str, port: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "uvicorn", app, "--port", str(port), *options]


@contextlib.contextmanager
def fake_backend(folder: Path, port: int) -> Iterator[Site]:
    """Run the fake backend on a port."""
    with running(
        uvicorn("tests.integration.frontend.backend:app", port), port, folder / "backend.log"
    ) as site:
        yield site


@contextlib.contextmanager
def frontend(kind: str, folder: Path, backend_url: str) -> Iterator[Site]:
    """Run the frontend for a backend, as `serve` or `nginx`."""
    port = free_port()
    if kind == "serve":
        command = uvicorn("serve:app", port, "--app-dir", "frontend", "--no-access-log")
        environment = {"BACKEND_URL": backend_url, **PROXIES}
    else:
        command, environment = nginx(folder, port, backend_url), {}
    with running(command, port, folder / f"{kind}.log", **environment) as site:
        yield site


def nginx(folder: Path, port: int, backend_url: str) -> list[str]:
    """Return the command for nginx, with the image's template filled in as in the image."""
    binary = shutil.which("nginx")
    if not binary:
        pytest.skip("nginx is not installed")
    site = (FRONTEND / "nginx.conf.template").read_text("utf-8")
    for old, new in (
        ("${BACKEND_URL}", backend_url),
        ("${NGINX_LOCAL_RESOLVERS}", "127.0.0.11"),
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("/usr/share/nginx/html", str(FRONTEND / "public")),
    ):
        assert old in site
        site = site.replace(old, new)
    folders = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    types = "text/html html; text/css css; text/javascript js; image/svg+xml svg;"
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\ntypes {{ {types} }}\n{folders}{site}}}\n",
        encoding="utf-8",
    )
    return [binary, "-p", str(folder), "-e", "stderr", "-c", str(config)]


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with fake_backend(tmp_path_factory.mktemp("backend"), free_port()) as site:
        yield site


@pytest.fixture(scope="session", params=["serve", "nginx"])
def site(
    request: pytest.FixtureRequest, backend: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run the frontend with the fake backend."""
    with frontend(request.param, tmp_path_factory.mktemp(request.param), backend.url) as site:
        yield site


@pytest.fixture(scope="session", params=["serve", "nginx"])
def site_without_backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run the frontend without a backend."""
    with frontend(request.param, tmp_path_factory.mktemp(request.param), NOWHERE) as site:
        yield site


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client
