"""`--dry-run` shows the plan without taking the lock, and changes nothing."""

import json
import re

import pytest
from filelock import FileLock

from tests.conftest import RUNTIMES
from tests.contract.test_verbs import SERVICES


def state_of(stack):
    services = [
        (service["name"], service["started_at"], service["state"])
        for service in stack.json("status")["services"]
    ]
    env = stack.root / ".env"
    return services, env.read_text() if env.exists() else None


PLANS = {
    "up": "leave +backend +it is running and up to date",
    "up --build": "build +the images",
    "down": "stop +beat +its state is running",
    "down --volumes": r"delete +\S*postgres\S* +permanently",
    "restart-backend": "restart +backend +its state is running",
    "restart worker": "restart +worker",
}


def test_dry_run_shows_the_plan_and_changes_nothing(stack):
    before = state_of(stack)
    with FileLock(stack.root / ".local" / "lock", timeout=10):
        for command, step in PLANS.items():
            output = stack.ok(*command.split(), "--dry-run")
            assert re.search(f"^{step}", output, re.MULTILINE), output
            assert output.endswith("nothing was changed\n")
    assert state_of(stack) == before


def test_dry_run_recreates_only_what_changed(stack):
    with stack.setting("MIGRATE_DELAYS=1 2"):
        plan = stack.json("up", "--dry-run")["plan"]
        assert {step["action"] for step in plan if step["name"] == "backend"} == {"recreate"}
        assert {step["action"] for step in plan if step["name"] == "postgres"} == {"leave"}
        assert "inv up applies it" in stack.ok("restart-backend", "--dry-run")


def test_dry_run_refuses_an_unknown_service(stack):
    assert stack.inv("restart", "nope", "--dry-run").returncode == 4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_dry_run_writes_nothing_in_a_new_checkout(tmp_path, runtime):
    with RUNTIMES[runtime](tmp_path) as stack:
        document = json.loads(stack.ok("up", "--dry-run", "--json"))
        assert document["runtime"] == runtime
        started = [step["name"] for step in document["plan"] if step["action"] == "start"]
        assert sorted(started) == sorted(SERVICES)
        assert stack.ok("down", "--dry-run") == "nothing to do\n"
        assert not (stack.root / ".env").exists()
        assert not (stack.root / ".local").exists()
