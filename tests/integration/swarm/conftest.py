"""One swarm of three nodes for all of these tests; a test that harms it mends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.servers import wait_until
from tests.support import swarm_stacks
from tests.support.nodes import Node
from tests.support.swarm_stacks import SwarmStack


@pytest.fixture(scope="session")
def machines() -> Iterator[list[Node]]:
    with swarm_stacks.swarm(3) as made:
        yield made


@pytest.fixture(scope="session")
def deployed(machines: list[Node], tmp_path_factory: pytest.TempPathFactory) -> SwarmStack:
    made = swarm_stacks.checkout(tmp_path_factory.mktemp("swarm"), machines[0])
    file = made.root / "deploy" / "swarm.yml"
    text = file.read_text("utf-8")
    once = "      update_config: &keep-serving"
    assert once in text
    file.write_text(text.replace(once, f"      replicas: 3\n{once}"), "utf-8")
    made.ok("up", timeout=600)
    return made


@pytest.fixture
def shop(deployed: SwarmStack) -> Iterator[SwarmStack]:
    """The stack, with three backends."""
    yield deployed
    wait_until("all is healthy again", lambda: is_whole(deployed), 180)


def is_whole(stack: SwarmStack) -> bool:
    seen = stack.json("health")
    return seen["state"] == "healthy" and len(seen.get("replicas", ())) == 3
