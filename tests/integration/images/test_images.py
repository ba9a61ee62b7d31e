"""The images on their own: their contents, and how they run with `docker run`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.dockerized import Container, build_image, container, docker, get, has_status
from harness.servers import wait_until
from harness.stacks import copy_checkout

pytestmark = pytest.mark.engine

PUBLISHED = ("--publish", "127.0.0.1::8000")
HARDENED = (
    *("--user", "54321:54321", "--read-only", "--tmpfs", "/tmp"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
# Do not wait for a database: the application serves after a few seconds.
AT_ONCE = ("--env", "DB_WAIT_TIMEOUT=1", "--env", "ALEMBIC_CMD=")


def phase(url: str) -> str:
    """Return the phase of the boot from `/health`; empty if there is no response."""
    response = get(f"{url}/health")
    return response.json()["phase"] if response else ""


def test_backend_answers_at_once_without_a_database() -> None:
    with container(build_image(), *PUBLISHED) as backend:
        url = backend.url(8000)
        wait_until("/live answers", lambda: has_status(f"{url}/live", 200), 10)
        health = get(f"{url}/health")
        assert health.status_code == 503
        assert (health.json()["ok"], health.json()["phase"]) == (False, "waiting")
        assert backend.execute("id", "--user").stdout.strip() == "10001"
        assert "[entrypoint] Waiting for Postgres at postgres:5432..." in backend.logs()


def test_state_volume_is_writable_by_any_user() -> None:
    with container(build_image(), *HARDENED, "--volume", "/var/lib/deal-scout") as backend:
        backend.execute("touch", "/var/lib/deal-scout/count")


@pytest.mark.parametrize(
    ("expected", "options"), [("waiting", ()), ("serving", AT_ONCE)], ids=["waiting", "serving"]
)
@pytest.mark.parametrize("init", [(), ("--init",)], ids=["first process", "init"])
def test_sigterm_stops_the_backend(
    expected: str, options: tuple[str, ...], init: tuple[str, ...]
) -> None:
    with container(build_image(), *PUBLISHED, *options, *init) as backend:
        url = backend.url(8000)
        wait_until(f"the phase is {expected}", lambda: phase(url) == expected, 30)
        assert backend.stop() < 10
        state = backend.inspect()["State"]
        assert state["ExitCode"] in (0, 143)


def test_health_check_uses_port() -> None:
    with container(build_image(), "--env", "PORT=9000") as backend:
        # wget exits with 8 after an error response of the server.
        wait_until("the probe reaches the server", lambda: backend.probe().returncode == 8, 10)
        assert json.loads(backend.probe().stdout)["db"] is False
        proxied = ("env", "http_proxy=http://127.0.0.1:1", "sh", "-c")
        test = backend.inspect()["Config"]["Healthcheck"]["Test"][1]
        assert backend.execute(*proxied, test, ok=False).returncode == 8


def test_backend_image_contains_only_what_it_needs() -> None:
    config = json.loads(docker("image", "inspect", build_image()).stdout)[0]["Config"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.title"] == "deal-scout backend"
    assert not config.get("Volumes")
    script = """
        set -e
        command -v wget nc alembic celery uvicorn
        ! ls -d /venv/lib/python*/site-packages/pip* /venv/lib/python*/site-packages/setuptools*
        ! ls /app/backend/Dockerfile /app/.env /app/invoke_stack /app/tests
        ls /app/backend/app/__pycache__/main.*.pyc /venv/lib/python*/site-packages/fastapi/__pycache__/*.pyc
        test -z "$(find /app /venv -perm -o+w ! -type l)"
    """
    docker("run", "--rm", build_image(), "sh", "-c", script)


def test_code_change_creates_one_new_layer(tmp_path: Path) -> None:
    root = copy_checkout(tmp_path / "checkout")
    before = layers(build_image("backend", root))
    with (root / "backend" / "app" / "boot" / "words.py").open("a") as module:
        module.write("# changed\n")
    build_image.cache_clear()
    after = layers(build_image("backend", root))
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    shutil.rmtree(root)


def layers(image: str) -> list[str]:
    return json.loads(docker("image", "inspect", image).stdout)[0]["RootFS"]["Layers"]


# The frontend

FRONTEND = ("--publish", "127.0.0.1::8080")


def check_page(frontend: Container) -> None:
    url = frontend.url(8080)
    wait_until("/healthz answers", lambda: has_status(f"{url}/healthz", 200), 10)
    page = get(url)
    assert "<h1>deal-scout</h1>" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert has_status(f"{url}/app.js", 200)
    assert has_status(f"{url}/api/health", 502)  # no backend here
    assert frontend.probe().returncode == 0


@pytest.mark.parametrize("options", [(), HARDENED], ids=["plain", "hardened"])
def test_frontend_serves_its_page_without_a_backend(options: tuple[str, ...]) -> None:
    with container(build_image("frontend"), *FRONTEND, *options) as frontend:
        check_page(frontend)
        assert frontend.execute("id", "--user").stdout.strip() != "0"
