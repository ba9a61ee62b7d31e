"""Golden files of the commands on a stack of the `compose` runtime, up and down."""

from __future__ import annotations

import pytest

from harness.servers import wait_until
from harness.stacks import Stack
from tests.support.goldens import State

READING = ("health", "health --json", "status", "status --json", "doctor", "doctor --json")
GOING_DOWN = State("compose/going-down", "down --dry-run", "down")
DOWN = State(
    "compose/down",
    *READING,
    "logs",
    "migrations",
    "restart-backend",
    "up --dry-run",
    "down",
    "down --dry-run",
)
UP = State(
    "compose/up",
    *READING,
    "migrations",
    "logs --grep entrypoint",
    "logs --grep 'Alembic attempt' --json",
    "logs --grep 'Alembic attempt' --timestamps",
    "logs nope",
    "up --dry-run",
    "down --dry-run",
    "restart-backend --dry-run",
    "scale backend=2",
    "up",
    "restart-backend",
    "restart-backend --json",
    "restart frontend --no-logs",
)


@pytest.mark.parametrize("stack", ["compose"], indirect=True)
def test_golden_compose(stack: Stack) -> None:
    """Uses the shared stack; after `down` its containers are new, as on a first `up`."""
    wait_until("it is healthy", stack.is_healthy, 120)
    GOING_DOWN.check(stack)
    try:
        DOWN.check(stack)
    finally:
        # No golden file: the last lines depend on whether the application serves by then.
        stack.ok("up")
    wait_until("all services are healthy", lambda: _is_fully_healthy(stack), 120)
    UP.check(stack)


def _is_fully_healthy(stack: Stack) -> bool:
    return all(service["health"] == "healthy" for service in stack.json("status")["services"])
