"""Boots of the real entrypoint, without servers or with the shared ones."""

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
    """Return the path of a shell; one for each shell that /bin/sh may be."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    return path


@pytest.fixture
def boot(environment: dict[str, str], tmp_path: Path) -> Iterator[Boot]:
    """Yield a boot that uses the shared servers and is not started."""
    boot = Boot(tmp_path, environment)
    yield boot
    boot.clean_up()


@pytest.fixture
def lone_boot(tmp_path: Path) -> Iterator[Boot]:
    """Yield a boot that has no servers and is not started."""
    addresses = {
        **{"DB_HOST": "127.0.0.1", "DB_PORT": "1"},
        **{"REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1"},
    }
    boot = Boot(tmp_path, servers.clean_environment(**addresses, DB_WAIT_TIMEOUT="1"))
    yield boot
    boot.clean_up()


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Postgres]:
    """Run a Postgres that tests may stop and freeze."""
    with servers.running(servers.make_postgres(tmp_path_factory.mktemp("own"))) as server:
        yield server
