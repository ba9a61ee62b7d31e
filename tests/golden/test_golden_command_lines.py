"""Golden files of commands without a stack, and of commands and settings that are rejected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.stacks import LocalStack
from tests.support.goldens import State

pytestmark = pytest.mark.slow  # about 50 commands

NEVER_UP = State(
    "local/never-up",
    "health",
    "health --json",
    "status",
    "status --json",
    "logs",
    "logs --json",
    "doctor",
    "doctor --json",
    "migrations",
    "migrations --json",
    "migrate",
    "migrate --dry-run",
    "restart-backend",
    "restart-backend --json",
    "restart-backend --dry-run",
    "restart worker",
    "backup",
    "restore missing.dump --yes",
    "scale backend=2",
    "up --dry-run",
    "up --dry-run --json",
    "down",
    "down --dry-run",
    "down --volumes --dry-run",
)


def test_golden_local_never_up(never_up: LocalStack) -> None:
    NEVER_UP.check(never_up)


REFUSED = State(
    "local/refused",
    "helth",
    "status --nonsense",
    "restart",
    "restart-backend --tail",
    "restart-backend --tail many",
    "restart-backend --timeout 0",
    "up --timeout soon",
    "logs ,",
    "logs --tail many",
    "logs --since yesterday",
    "logs --grep (",
    "health --timeout never",
    "health --url nowhere",
    "status --runtime moon",
    "scale backend",
    "scale backend=x",
    "down --volumes",
    "restore",
)


def test_golden_local_rejects_bad_command_lines(never_up: LocalStack) -> None:
    REFUSED.check(never_up)


BAD_SETTING = State("local/bad-setting", "up", "up --dry-run", "restart-backend", "doctor")
BAD_RUNTIME = State("local/bad-runtime", "status", "doctor")
BAD_CONFIGURATION = State("local/bad-invoke-yaml", "status", "up")


def test_golden_local_rejects_bad_settings(never_up: LocalStack) -> None:
    with never_up.setting("MIGRATE_DELAYS=soon"):
        BAD_SETTING.check(never_up)
    environment = never_up.environment | {"INVOKE_STACK_RUNTIME": "moon"}
    BAD_RUNTIME.check(replace(never_up, environment=environment))
    file = never_up.root / "invoke.yaml"
    before = file.read_text("utf-8") if file.exists() else None
    file.write_text("stack: {srevice: web}\n", "utf-8")
    try:
        BAD_CONFIGURATION.check(never_up)
    finally:
        file.unlink() if before is None else file.write_text(before, "utf-8")
