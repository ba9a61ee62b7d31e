"""Helpers for the golden files of the `local` runtime."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import psutil

from harness.servers import wait_until
from harness.stacks import LocalStack

SERVICES = ("postgres", "redis", "backend", "worker", "beat", "frontend")
AGE = 2 * 86400  # seconds; shown as `2d` for an hour, and too long for a service that is starting

SETTINGS = {
    "MIGRATE_DELAYS": "0.2 1",  # delays after failed migrations, in seconds
    "SCOUT_INTERVAL": "86400",  # no task is queued during the tests
}

READING = ("health", "health --json", "status", "status --json", "doctor", "migrations")

FAILING = '''"""A revision that cannot be applied."""

from alembic import op

revision = "9999_failing"
down_revision = "0003_deals_newest"


def upgrade():
    op.execute("ALTER TABLE no_such_table ADD COLUMN x int")
'''


def is_fully_healthy(stack: LocalStack) -> bool:
    return all(service["health"] == "healthy" for service in stack.json("status")["services"])


def age(stack: LocalStack, *services: str) -> None:
    """Set the start time of services, by default all, to two days ago."""
    started_at = time.time() - AGE
    for service in services or SERVICES:
        os.utime(stack.state / "run" / f"{service}.started", (started_at, started_at))


@contextlib.contextmanager
def background_paused(stack: LocalStack) -> Iterator[None]:
    """Suspend the background migrations between two attempts."""
    [background] = [
        process
        for process in _processes(stack, "backend")
        if "app.boot.migrations" in process.cmdline()
    ]

    def is_paused() -> bool:
        background.suspend()
        if not background.children():
            return True
        background.resume()
        return False

    wait_until("the background is between two attempts", is_paused, 120)
    try:
        yield
    finally:
        background.resume()


def _processes(stack: LocalStack, service: str) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in stack.pids(service)]
