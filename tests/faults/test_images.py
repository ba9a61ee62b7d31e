"""Images built from a Windows checkout, and containers with minimal permissions."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import dockerized
from harness.dockerized import build_image, container, has_status
from harness.servers import wait_until
from harness.stacks import copy_checkout
from tests.integration.images.test_images import (
    AT_ONCE,
    FRONTEND,
    HARDENED,
    PUBLISHED,
    check_page,
    phase,
)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", autouse=True)
def _engine() -> None:
    dockerized.require_engine()


@pytest.fixture(scope="module")
def windows_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout with CRLF, no permissions for others, and files that must be ignored."""
    root = copy_checkout(tmp_path_factory.mktemp("windows"))
    for file in filter(Path.is_file, root.rglob("*")):
        content = file.read_bytes()
        if b"\0" not in content:
            file.write_bytes(content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        file.chmod(0o600)
    for folder in filter(Path.is_dir, root.rglob("*")):
        folder.chmod(0o700)
    for ignored in (".env", "backend/.env", "backend/app/.env", "alembic/versions/x.pyc"):
        (root / ignored).write_text("secret")
    return root


def test_f20_backend_of_windows_checkout_boots(windows_checkout: Path) -> None:
    image = build_image("backend", windows_checkout)
    with container(image, *PUBLISHED, "--env", "DB_WAIT_TIMEOUT=1", *HARDENED) as backend:
        url = backend.url(8000)
        wait_until("/live answers", lambda: has_status(f"{url}/live", 200), 15)
        assert backend.execute("alembic", "heads").stdout.endswith("(head)\n")
        assert not backend.execute("find", "/app", "-name", ".env").stdout
        assert not backend.execute("find", "/app", "-name", "x.pyc").stdout


def test_f20_frontend_of_windows_checkout_boots(windows_checkout: Path) -> None:
    with container(build_image("frontend", windows_checkout), *FRONTEND, *HARDENED) as frontend:
        check_page(frontend)


@pytest.mark.parametrize("options", [(), HARDENED], ids=["plain", "hardened"])
def test_f21_backend_serves_as_any_user_without_write_permission(
    options: tuple[str, ...],
) -> None:
    with container(build_image(), *PUBLISHED, *AT_ONCE, *options) as backend:
        url = backend.url(8000)
        wait_until("the application serves", lambda: phase(url) == "serving", 30)
        assert has_status(f"{url}/live", 200)
        assert "RUN_DIR" not in backend.logs()  # no warning about it
        backend.execute("touch", "/var/lib/deal-scout/count", ok=not options)
