"""Golden files of the commands on a `local` stack that is healthy, behind its schema, or down."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.servers import free_port, wait_until
from harness.stacks import LocalStack
from invoke_stack.commands import lock
from tests.golden import answers
from tests.golden.local import READING
from tests.support import goldens
from tests.support.goldens import State

pytestmark = pytest.mark.slow

FIRST_UP = State("local/first-up", "up")


def test_golden_local_first_up(
    first_up: tuple[LocalStack, subprocess.CompletedProcess[str]],
) -> None:
    stack, result = first_up
    FIRST_UP.compare(stack, [result])


UP = State(
    "local/up",
    *READING,
    "doctor --json",
    "migrations --json",
    "logs --grep entrypoint",
    "logs --grep 'Alembic attempt' --json",
    "logs --grep 'Alembic attempt' --timestamps",
    "logs --since 2999-01-01T00:00:00Z",
    "logs --tail 0",
    "logs frontend",
    "logs backend,frontend --grep 'startup complete'",
    "logs nope",
    "health --url {page}",
    "health --url {nowhere}",
    "health --url {nowhere} --json",
    "up --dry-run",
    "up --dry-run --json",
    "restart-backend --dry-run",
    "restart-backend --dry-run --json",
    "restart worker --dry-run",
    "down --dry-run",
    "down --volumes --dry-run",
    "scale backend=2 --dry-run",
    "scale nope=2",
    "restart nope",
    "migrate",
    "migrate --dry-run",
    "restore missing.dump",
    "restore tasks.py --yes",
    "up",
    "up --json",
)


def test_golden_local_up(local: LocalStack) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    UP.check(local, page=local.url("frontend"), nowhere=nowhere)


COLOUR = State("local/colour", "health", "status", "doctor", "migrations", "logs --grep entrypoint")


def test_golden_local_colour(local: LocalStack) -> None:
    coloured = local.environment | {"FORCE_COLOR": "1", "TERM": "xterm", "COLORTERM": ""}
    coloured.pop("NO_COLOR", None)
    COLOUR.check(replace(local, environment=coloured))


RESTARTED = State(
    "local/restarted",
    "restart-backend",
    "restart-backend --json",
    "restart-backend --tail 2",
    "restart frontend",
    "restart worker --no-logs",
)


def test_golden_local_restarted(local: LocalStack) -> None:
    RESTARTED.check(local)


BACKUP = State("local/backup", "backup")
RESTORE = State(
    "local/restore",
    "restore {archive} --dry-run",
    "restore {archive}",
    "restore {archive} --yes",
)


def test_golden_local_backup_and_restore(local: LocalStack) -> None:
    result = local.inv("backup")
    BACKUP.compare(local, [result])
    RESTORE.check(local, archive=Path(result.stdout.strip()).relative_to(local.root).as_posix())


LOCKED = State("local/locked", "restart-backend", "down", "up --dry-run", "status")


def test_golden_local_locked(local: LocalStack) -> None:
    with lock.hold(local.state, "restart backend"):
        LOCKED.check(local)


INTERRUPTED = State("local/interrupted", "logs frontend --follow")


def test_golden_local_interrupted(local: LocalStack, tmp_path: Path) -> None:
    [command] = INTERRUPTED.files.values()
    output = tmp_path / "output"
    with output.open("wb") as stdout:
        process = subprocess.Popen(
            local.command(*command.split()),
            cwd=local.root,
            env=local.environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
    wait_until("the log is followed", lambda: "Uvicorn running" in output.read_text("utf-8"))
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    last_line = output.read_text("utf-8").splitlines(keepends=True)[-1]
    result = subprocess.CompletedProcess([], process.returncode, last_line, error)
    INTERRUPTED.compare(local, [result])


CHANGED = State(
    "local/changed-configuration",
    "doctor",
    "up --dry-run",
    "restart-backend --dry-run",
    "restart-backend --no-logs",
)


def test_golden_local_changed_configuration(local: LocalStack) -> None:
    # A variable names a missing program, and no `inv up` has applied it yet.
    with local.setting("ALEMBIC_CMD=alembik upgrade head"):
        CHANGED.check(local)


BEHIND = State(
    "local/behind",
    *READING,
    "migrations --json",
    "migrate --dry-run",
    "up --dry-run",
    "migrate",
)


def test_golden_local_behind(local: LocalStack) -> None:
    local.run("backend", "alembic", "downgrade", "-1")
    wait_until(
        "/health reports it", lambda: local.json("health")["health"]["migrations"] == "behind", 60
    )
    try:
        BEHIND.check(local)
    finally:
        local.inv("migrate")


ANSWERS = answers.declare("http/application")


def test_golden_local_responses(local: LocalStack) -> None:
    answers.check(ANSWERS, local.url(), goldens.stack_placeholders(local))


DOWN = State("local/going-down", "down")
AFTER = State(
    "local/down",
    *READING,
    "logs frontend --tail 1",
    "restart-backend",
    "migrate",
    "backup",
    "up --dry-run",
    "down",
)
DELETED = State("local/deleted", "down --volumes --yes", "status", "up --dry-run")


def test_golden_local_down(local: LocalStack) -> None:
    DOWN.check(local)
    try:
        AFTER.check(local)
        DELETED.check(local)
    finally:
        local.ok("up")
