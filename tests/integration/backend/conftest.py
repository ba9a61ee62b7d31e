"""Fixtures that run the backend as real processes, or import it into the test process."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import servers
from tests.integration.backend import processes

sys.path.insert(0, str(processes.ROOT / "backend"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a working directory with a copy of the migrations, for tests that add revisions."""
    folder = tmp_path / "project"
    shutil.copytree(
        processes.ROOT / "alembic",
        folder / "alembic",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(processes.ROOT / "alembic.ini", folder)
    return folder


@pytest.fixture(scope="module")
def module_environment(
    postgres: servers.Postgres,
    redis_server: servers.Redis,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, str]]:
    """Yield the same as `environment`, but one for all tests of a module."""
    name = f"module_{request.module.__name__.rpartition('.')[2]}"
    folder = tmp_path_factory.mktemp(name)

    def sql(statement: str) -> None:
        with contextlib.closing(postgres.connect()) as connection:
            connection.cursor().execute(statement)

    sql(f"CREATE DATABASE {name}")
    redis_server.client().flushall()
    yield servers.clean_environment(
        **postgres.environment(name), **redis_server.environment(), RUN_DIR=str(folder)
    )
    sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def api(module_environment: dict[str, str]) -> Iterator[processes.Api]:
    """Run the application on a migrated database, for all tests of a module."""
    processes.migrate(module_environment)
    with processes.serving(module_environment, Path(module_environment["RUN_DIR"])) as api:
        yield api
