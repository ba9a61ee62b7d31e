"""What all tests share: one PostgreSQL, one Valkey and one stack of each runtime a session."""

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

# What is slow on a busy machine is no error.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

# A new runtime joins here.
RUNTIMES = {"local": local_stack, "compose": compose_stack, "swarm": swarm_stack}

if sys.platform == "win32":
    here = Path(__file__).parent
    on_windows = {here / "unit", here / "integration/adoption", here / "integration/windows"}
    folders = [p for p in (*here.iterdir(), *(here / "integration").iterdir()) if p.is_dir()]
    collect_ignore = [str(p) for p in folders if p not in on_windows and p != here / "integration"]


def pytest_report_header() -> str:
    """Why there are fewer tests than elsewhere."""
    if sys.platform != "win32":
        return ""
    return "on Windows: the toolkit alone; the real servers and the local runtime do not exist here"


# The rest is tested where a start takes less long.
ON_SWARM = "tests/contract/test_verbs.py"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not for Swarm, and mark what needs an engine; where tests run side by side,
    keep together what shares a stack, or a module's fixtures.
    """
    items[:] = [item for item in items if not _is_elsewhere(item)]
    for item in items:
        if _runs_on_engine(item):
            item.add_marker(pytest.mark.engine)
            if "swarm" in _runtimes(item):
                item.add_marker(pytest.mark.matrix)  # it needs an engine of its own, a manager
        elif _runtimes(item) != {None} and "faults" in Path(item.location[0]).parts:
            item.add_marker(pytest.mark.slow)  # bounds of many seconds, on a whole stack
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


def _is_elsewhere(item: pytest.Item) -> bool:
    return "swarm" in _runtimes(item) and item.location[0] != ON_SWARM


def _runs_on_engine(item: pytest.Item) -> bool:
    return bool(_runtimes(item) & {"compose", "swarm"})


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


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Take a shared stack down after the last test that wants it: its probes cost processor time."""
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
    """A stack that is up and healthy. A test that harms it waits until it is healthy again."""
    with RUNTIMES[request.param](tmp_path_factory.mktemp("dé al scöut")) as running:
        running.ok("up", "--runtime", request.param, timeout=600)
        yield running
