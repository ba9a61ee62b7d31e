"""Servers shared by all tests: one PostgreSQL and one Valkey a session, a database of its own a test."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers

if sys.platform == "win32":
    here = Path(__file__).parent
    on_windows = {"ops", "adoption", "shim"}
    collect_ignore = [p.name for p in here.iterdir() if p.is_dir() and p.name not in on_windows]


def pytest_report_header() -> str:
    """Why there are fewer tests than elsewhere."""
    if sys.platform != "win32":
        return ""
    return "on Windows: the toolkit alone; the real servers and the local runtime do not exist here"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Postgres]:
    """A running PostgreSQL. Do not stop or freeze it: make one of your own for that."""
    with servers.running(servers.make_postgres(tmp_path_factory.mktemp("postgres"))) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    """A running Valkey. Do not stop or freeze it: make one of your own for that."""
    with servers.running(servers.make_redis(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def database(postgres: servers.Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an empty database of the shared server, dropped afterwards."""
    name = f"test_{abs(hash(request.node.nodeid)):x}"

    def run(statement: str) -> None:
        with contextlib.closing(postgres.connect()) as connection:
            connection.cursor().execute(statement)

    run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    run(f'CREATE DATABASE "{name}"')
    yield name
    run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def environment(
    postgres: servers.Postgres, redis_server: servers.Redis, database: str, tmp_path: Path
) -> dict[str, str]:
    """A clean environment that points the backend at the shared servers and a fresh database."""
    return servers.clean_environment(
        **postgres.environment(database), **redis_server.environment(), RUN_DIR=str(tmp_path)
    )
