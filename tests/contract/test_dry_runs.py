"""`--dry-run` tells what would be done, without the lock, and changes nothing."""

import json
import re

import pytest
from filelock import FileLock

from tests.conftest import RUNTIMES
from tests.contract.test_verbs import SERVICES


def state_of(stack):
    services = [(s["name"], s["started_at"], s["state"]) for s in stack.json("status")["services"]]
    env = stack.root / ".env"
    return services, env.read_text() if env.exists() else None


PLANS = {
    "up": "leave +backend +it is running and up to date",
    "up --build": "build +the images",
    "down": "stop +beat +it is running",
    "down --volumes": r"delete +\S*postgres\S* +permanently",
    "restart-backend": "restart +backend +it is running",
    "restart worker": "restart +worker",
}


def test_a_dry_run_tells_and_touches_nothing(stack):
    before = state_of(stack)
    with FileLock(stack.root / ".local" / "lock", timeout=10):
        for words, told in PLANS.items():
            shown = stack.ok(*words.split(), "--dry-run")
            assert re.search(f"^{told}", shown, re.MULTILINE), shown
            assert shown.endswith("nothing was changed\n")
    assert state_of(stack) == before


def test_a_dry_run_knows_what_changed(stack):
    with stack.setting("MIGRATE_DELAYS=1 2"):
        plan = stack.json("up", "--dry-run")["plan"]
        assert {step["action"] for step in plan if step["name"] == "backend"} == {"recreate"}
        assert {step["action"] for step in plan if step["name"] == "postgres"} == {"leave"}
        assert "inv up applies it" in stack.ok("restart-backend", "--dry-run")


def test_a_dry_run_of_what_there_is_not(stack):
    assert stack.inv("restart", "nope", "--dry-run").returncode == 4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_dry_run_in_a_fresh_checkout_leaves_it_fresh(tmp_path, runtime):
    with RUNTIMES[runtime](tmp_path) as stack:
        said = json.loads(stack.ok("up", "--dry-run", "--json"))
        assert said["runtime"] == runtime
        starts = [step["name"] for step in said["plan"] if step["action"] == "start"]
        assert sorted(starts) == sorted(SERVICES)
        assert stack.ok("down", "--dry-run") == "nothing to do\n"
        assert not (stack.root / ".env").exists()
        assert not (stack.root / ".local").exists()
