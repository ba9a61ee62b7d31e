"""Every contract test leaves its stack healthy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.servers import wait_until


@pytest.fixture(autouse=True)
def _wait_until_healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stack" in request.fixturenames:
        running = request.getfixturevalue("stack")
        wait_until("the stack is healthy again", running.is_healthy, 60)
