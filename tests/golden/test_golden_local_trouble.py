"""Golden files of the commands on a `local` stack that is degraded, failed or lacks a server."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from harness.servers import wait_until
from harness.stacks import LocalStack
from invoke_stack.runtimes.local.supervise import Supervisor
from tests.faults.inject import frozen
from tests.golden import answers
from tests.golden.local import FAILING, READING, age, background_paused
from tests.support import goldens
from tests.support.goldens import State

pytestmark = pytest.mark.slow

UNREADABLE = State("local/unreadable-revision", "migrations", "migrate", "doctor")


def test_golden_local_unreadable_revision(local: LocalStack) -> None:
    revision = local.root / "alembic" / "versions" / "9999_unreadable.py"
    revision.write_text("values = (\n", "utf-8")
    try:
        UNREADABLE.check(local)
    finally:
        revision.unlink()


DEGRADED_START = State(
    "local/degraded", "restart-backend --tail 1000", "restart-backend --json --no-logs"
)
DEGRADED = State(
    "local/degraded",
    *READING,
    "doctor --json",
    "logs --grep 'Cause: 9999' --tail 1000",
    "restart-backend --dry-run",
    "up --dry-run",
    "migrate",
    "up",
)
DEGRADED_ANSWERS = answers.declare("http/application-degraded")


def test_golden_local_degraded(local: LocalStack) -> None:
    # A migration fails, in the boot and in the background.
    revision = local.root / "alembic" / "versions" / "9999_failing.py"
    revision.write_text(FAILING, "utf-8")
    try:
        DEGRADED_START.check(local)
        with background_paused(local):
            age(local, "backend")
            answers.check(DEGRADED_ANSWERS, local.url(), goldens.stack_placeholders(local))
            DEGRADED.check(local)
    finally:
        revision.unlink()
        local.inv("restart-backend", "--no-logs")


# Without `up`, which may name the cause of an earlier start.
FAILED = State("local/failed", "restart-backend --json", "restart-backend", "migrations")
# Without `doctor`, which may name an older line of the log.
FAILING_NOW = State("local/failed", "health", "health --json", "status", "status --json")


def test_golden_local_failed(local: LocalStack) -> None:
    # The backend exits as soon as it starts.
    module = local.root / "backend" / "app" / "boot" / "startup.py"
    before = module.read_text("utf-8")
    module.write_text('raise SystemExit("this backend cannot start")\n', "utf-8")
    try:
        FAILED.check(local)
        commands = FAILING_NOW.files.values()
        FAILING_NOW.compare(local, [_between_starts(local, command) for command in commands])
    finally:
        module.write_text(before, "utf-8")
        local.inv("restart-backend", "--no-logs")


def _between_starts(local: LocalStack, command: str) -> subprocess.CompletedProcess[str]:
    """Return the result of a command that ran while supervisord waited to restart the backend."""
    supervisor = Supervisor(local.state / "run")
    results: list[subprocess.CompletedProcess[str]] = []

    def last_start() -> int | None:
        process = supervisor.processes()["backend"]
        return process["start"] if process["statename"] == "BACKOFF" else None

    def has_run() -> bool:
        before = last_start()
        results.append(local.inv(*command.split()))
        return before is not None and before == last_start()

    wait_until(f"{command} between two starts", has_run, 300)
    return results[-1]


WITHOUT_REDIS = State("local/redis-stopped", *READING, "up --dry-run", "restart-backend")
WITHOUT_REDIS_ANSWERS = answers.declare("http/application-without-redis")


def test_golden_local_redis_stopped(local: LocalStack) -> None:
    with _stopped(local, "redis"):
        wait_until(
            "/health reports it", lambda: local.json("health")["health"]["redis"] is False, 30
        )
        answers.check(WITHOUT_REDIS_ANSWERS, local.url(), goldens.stack_placeholders(local))
        WITHOUT_REDIS.check(local)


# Without `doctor`, which may quote an older line of the server's log.
WITHOUT_DATABASE = State(
    "local/postgres-stopped",
    *(verb for verb in READING if verb != "doctor"),
    "backup",
    "migrate",
)
WITHOUT_DATABASE_ANSWERS = answers.declare("http/application-without-database")


def test_golden_local_postgres_stopped(local: LocalStack) -> None:
    with _stopped(local, "postgres"):
        wait_until("/health reports it", lambda: local.json("health")["health"]["db"] is False, 30)
        answers.check(WITHOUT_DATABASE_ANSWERS, local.url(), goldens.stack_placeholders(local))
        WITHOUT_DATABASE.check(local)


@contextlib.contextmanager
def _stopped(local: LocalStack, service: str) -> Iterator[None]:
    supervisor = Supervisor(local.state / "run")
    supervisor.stop(service)
    try:
        yield
    finally:
        supervisor.start(service)


TIMEOUT = State("local/timeout", "restart worker --timeout 1", "restart worker --timeout 1 --json")


def test_golden_local_timeout(local: LocalStack) -> None:
    # The worker does not stop in time.
    with frozen(local, "worker"):
        TIMEOUT.check(local)

    def is_restarted() -> bool:
        return local.inv("restart", "worker", "--no-logs").returncode == 0

    wait_until("no earlier restart is in progress", is_restarted, 120)
