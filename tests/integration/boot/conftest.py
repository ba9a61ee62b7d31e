"""Boots of the real entrypoint, on its own or against the shared servers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import servers
from tests.integration.boot.boots import Boot

if sys.platform == "win32":
    pytest.skip("the backend runs on Linux and macOS", allow_module_level=True)


@pytest.fixture(params=["dash", "bash", "busybox"])
def shell(request: pytest.FixtureRequest) -> str:
    """The path of each shell that /bin/sh may be."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    return path


@pytest.fixture
def boot(environment: dict[str, str], tmp_path: Path) -> Iterator[Boot]:
    """A boot against the shared servers, not started yet."""
    boot = Boot(tmp_path, environment)
    yield boot
    boot.clean_up()


@pytest.fixture
def lone_boot(tmp_path: Path) -> Iterator[Boot]:
    """A boot without any server."""
    nobody = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1"}
    boot = Boot(tmp_path, servers.clean_environment(**nobody, DB_WAIT_TIMEOUT="1"))
    yield boot
    boot.clean_up()


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Postgres]:
    """One to stop and to freeze, running at first."""
    with servers.running(servers.make_postgres(tmp_path_factory.mktemp("own"))) as server:
        yield server
