"""What the golden files of the `local` runtime share."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import psutil

from harness.servers import wait_until
from harness.stacks import LocalStack

SERVICES = ("postgres", "redis", "backend", "worker", "beat", "frontend")
AGE = 2 * 86400  # seconds; `2d` is shown for an hour, and nothing counts as starting any more

SETTINGS = {
    "MIGRATE_DELAYS": "0.2 1",  # what is waited for after a failed migration
    "SCOUT_INTERVAL": "86400",  # no task is queued meanwhile
}

READING = ("health", "health --json", "status", "status --json", "doctor", "migrations")

FAILING = '''"""A revision that cannot be applied."""

from alembic import op

revision = "9999_failing"
down_revision = "0003_deals_newest"


def upgrade():
    op.execute("ALTER TABLE no_such_table ADD COLUMN x int")
'''


def all_healthy(stack: LocalStack) -> bool:
    return all(each["health"] == "healthy" for each in stack.json("status")["services"])


def age(stack: LocalStack, *services: str) -> None:
    """Make services, by default all, look as if they had been started two days ago."""
    began = time.time() - AGE
    for service in services or SERVICES:
        os.utime(stack.state / "run" / f"{service}.started", (began, began))


@contextlib.contextmanager
def background_at_rest(stack: LocalStack) -> Iterator[None]:
    """Stop the attempts to migrate in the background between two of them."""
    [process] = [
        each for each in _processes(stack, "backend") if "app.boot.migrations" in each.cmdline()
    ]

    def is_at_rest() -> bool:
        process.suspend()
        if not process.children():
            return True
        process.resume()
        return False

    wait_until("the background is between two attempts", is_at_rest, 120)
    try:
        yield
    finally:
        process.resume()


def _processes(stack: LocalStack, service: str) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in stack.pids(service)]
