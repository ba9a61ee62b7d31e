"""One running stack for each runtime. A new runtime joins here."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.composed import compose_stack
from tests.servers import wait_until
from tests.stacks import Stack, local_stack

RUNTIMES = {"local": local_stack, "compose": compose_stack}


@pytest.fixture(scope="session", params=list(RUNTIMES))
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack that is up and healthy. A test that harms it waits until it is healthy again."""
    if request.param == "local" and sys.platform == "win32":
        pytest.skip("the local runtime does not exist on Windows")
    with RUNTIMES[request.param](tmp_path_factory.mktemp("stack")) as running:
        running.ok("up", "--runtime", request.param, timeout=600)
        yield running


@pytest.fixture(autouse=True)
def _leave_it_healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stack" in request.fixturenames:
        running = request.getfixturevalue("stack")
        wait_until("the stack is healthy again", running.is_healthy, 60)
