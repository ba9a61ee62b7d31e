"""Fixtures of all tests: per session one PostgreSQL, one Valkey and one stack of each runtime."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from harness import servers
from harness.compose_stacks import compose_stack
from harness.stacks import Stack, local_stack
from tests.support.swarm_stacks import swarm_stack

# A busy machine may be slow; that is no failure.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

# Add new runtimes here.
RUNTIMES = {"local": local_stack, "compose": compose_stack, "swarm": swarm_stack}

if sys.platform == "win32":
    tests = Path(__file__).parent
    integration = tests / "integration"
    included = {tests / "unit", integration, integration / "adoption", integration / "windows"}
    folders = [path for path in (*tests.iterdir(), *integration.iterdir()) if path.is_dir()]
    collect_ignore = [str(path) for path in folders if path not in included]


def pytest_report_header() -> str:
    """Explain why fewer tests are collected on Windows."""
    if sys.platform != "win32":
        return ""
    return "Windows: only the toolkit is tested, without the servers and the local runtime"


# All that runs on Swarm: starts take longer there, and the other tests cover the rest.
ON_SWARM = "tests/contract/test_verbs.py"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that do not run on Swarm, and add the markers.

    Tests that share a stack, or the fixtures of a module, stay in one xdist worker.
    """
    items[:] = [item for item in items if not _is_excluded(item)]
    for item in items:
        if _runs_on_engine(item):
            item.add_marker(pytest.mark.engine)
            if "swarm" in _runtimes(item):
                item.add_marker(pytest.mark.matrix)  # needs an engine of its own as the manager
        elif _runtimes(item) != {None} and "faults" in Path(item.location[0]).parts:
            item.add_marker(pytest.mark.slow)  # long timeouts on a whole stack
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return str(parameters.get("stack") or item.location[0])


def _runtimes(item: pytest.Item) -> set[object]:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return {parameters.get("stack"), parameters.get("runtime")}


def _is_excluded(item: pytest.Item) -> bool:
    return "swarm" in _runtimes(item) and item.location[0] != ON_SWARM


def _runs_on_engine(item: pytest.Item) -> bool:
    return bool(_runtimes(item) & {"compose", "swarm"})


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Postgres]:
    """Run a PostgreSQL. Do not stop or freeze it: create another one for that."""
    with servers.running(servers.make_postgres(tmp_path_factory.mktemp("postgres"))) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    """Run a Valkey. Do not stop or freeze it: create another one for that."""
    with servers.running(servers.make_redis(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
def database(postgres: servers.Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    """Create an empty database on the shared server and yield its name; drop it afterwards."""
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
    """Return a clean environment that points the backend at the shared servers and a fresh database."""
    return servers.clean_environment(
        **postgres.environment(database), **redis_server.environment(), RUN_DIR=str(tmp_path)
    )


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop a shared stack after the last test that uses it: its health checks cost CPU time."""
    if "stack" not in getattr(item, "fixturenames", ()) or nextitem is None:
        return
    if _group(item) != _group(nextitem):
        [*_, definition] = item._fixtureinfo.name2fixturedefs["stack"]
        if definition.scope == "session":
            definition.finish(item._request)


@pytest.fixture(scope="session", params=list(RUNTIMES))
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Run a healthy stack. A test that breaks it must wait until it is healthy again."""
    with RUNTIMES[request.param](tmp_path_factory.mktemp("dé al scöut")) as running:
        running.ok("up", "--runtime", request.param, timeout=600)
        yield running
