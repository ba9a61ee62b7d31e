"""One swarm of three nodes for all tests of this folder; each test restores what it breaks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.servers import wait_until
from tests.support import swarm_stacks
from tests.support.nodes import Node
from tests.support.swarm_stacks import SwarmStack


@pytest.fixture(scope="session")
def machines() -> Iterator[list[Node]]:
    with swarm_stacks.swarm(3) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def deployed(machines: list[Node], tmp_path_factory: pytest.TempPathFactory) -> SwarmStack:
    stack = swarm_stacks.checkout(tmp_path_factory.mktemp("swarm"), machines[0])
    file = stack.root / "deploy" / "swarm.yml"
    text = file.read_text("utf-8")
    line = "      update_config: &keep-serving"
    assert line in text
    file.write_text(text.replace(line, f"      replicas: 3\n{line}"), "utf-8")
    stack.ok("up", timeout=600)
    return stack


@pytest.fixture
def shop(deployed: SwarmStack) -> Iterator[SwarmStack]:
    """Yield the stack with three backends, and wait until it is healthy again."""
    yield deployed
    wait_until("all are healthy again", lambda: is_complete(deployed), 180)


def is_complete(stack: SwarmStack) -> bool:
    health = stack.json("health")
    return health["state"] == "healthy" and len(health.get("replicas", ())) == 3
