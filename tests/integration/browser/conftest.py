"""Run the page in a real Chromium, with a real backend that tests may break."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from harness import servers
from tests.integration.backend import processes
from tests.integration.boot.boots import Boot
from tests.integration.frontend.conftest import frontend

if sys.platform == "win32":
    pytest.skip("the backend runs on Linux and macOS", allow_module_level=True)

from playwright.sync_api import Browser, Page, expect, sync_playwright

OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)
CELERY = ("celery", "-A", "app.worker")
# Records every text in the live region, which is emptied after a while.
RECORD_ANNOUNCEMENTS = """
window.announcements = [];
addEventListener("DOMContentLoaded", () => {
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) announcements.push(node.textContent);
  }).observe(document.getElementById("live"), { childList: true });
});
"""
# Runs alembic as soon as no test holds it.
ALEMBIC = f'while [ -e $FOLDER/hold ]; do sleep 0.1; done; exec {processes.BIN / "alembic"} "$@"'


@dataclass
class Site:
    """Everything that the page shows. A test that breaks it must restore it."""

    url: str
    boot: Boot
    postgres: servers.Postgres
    redis: servers.Redis
    worker: processes.Process

    def start(self, **variables: str) -> None:
        """Start the backend."""
        self.boot.start(**variables)

    def stop(self) -> None:
        """Stop the backend."""
        self.boot.end()
        servers.wait_until("all have exited", lambda: not self.boot.family(), 15)

    def is_healthy(self) -> bool:
        with contextlib.suppress(OSError, httpx.TransportError):
            overview = httpx.get(f"{self.url}/api/overview", trust_env=False).json()
            return bool(
                overview.get("ok")
                and overview["phase"] == "serving"
                and overview["migrations"] == "current"
                and None not in overview["heartbeats"].values()
            )
        return False


def find_chromium() -> str:
    """Return the path of Chromium. Without it, skip the tests, or fail if REQUIRE_BROWSER is set."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
    if not path and os.environ.get("REQUIRE_BROWSER", "0") not in ("", "0"):
        pytest.fail("no Chromium in PATH (and REQUIRE_BROWSER is set)", pytrace=False)
    if not path:
        pytest.skip("no Chromium in PATH: install your system's package `chromium`")
    return path


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    executable = find_chromium()
    expect.set_options(timeout=40_000)  # ms; the page polls every 2 s, and a boot may be slow
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*OPTIONS])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    postgres = servers.make_postgres(folder / "postgres")
    redis = servers.make_redis(folder / "redis")
    with contextlib.ExitStack() as stack:
        for server in (postgres, redis):
            stack.enter_context(servers.running(server))
        environment = servers.clean_environment(
            **postgres.environment("postgres"), **redis.environment(), STATE_DIR=str(folder)
        )
        boot = Boot(_project(folder / "backend"), environment)
        stack.callback(boot.clean_up)
        (boot.bin / "uvicorn").unlink()
        boot.stub("alembic", ALEMBIC)
        boot.start()
        celery_processes = []
        for name, *options in (("worker", "--concurrency", "1"), ("beat",)):
            run_dir = folder / name
            run_dir.mkdir()
            env = environment | {"RUN_DIR": str(run_dir)}
            command = (*CELERY, name, *options)
            celery_processes.append(
                stack.enter_context(processes.running(*command, env=env, log=run_dir / "log"))
            )
        backend_url = f"http://127.0.0.1:{boot.port}"
        page_server = stack.enter_context(frontend("serve", folder, backend_url))
        site = Site(page_server.url, boot, postgres, redis, celery_processes[0])
        servers.wait_until("everything is healthy", site.is_healthy, 60)
        yield site


def _project(folder: Path) -> Path:
    """Create a working directory like that of the image."""
    folder.mkdir()
    (folder / "backend").symlink_to(processes.ROOT / "backend")
    shutil.copy(processes.ROOT / "alembic.ini", folder)
    shutil.copytree(processes.ROOT / "alembic", folder / "alembic")
    return folder


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """Open the page of a healthy stack. Fails if a script of the page fails."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    context.set_default_timeout(40_000)
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on(
        "console",
        lambda message: failures.append(message.text) if "Policy" in message.text else None,
    )
    page.add_init_script(RECORD_ANNOUNCEMENTS)
    page.goto(site.url)
    expect(page.locator("#state")).to_have_text("Healthy")
    yield page
    context.close()
    assert failures == []
