"""What the contract says of `inv doctor`, on a real stack of each runtime."""

import json
import os
import time

from deal_scout_profile import PROFILE
from harness.servers import wait_until
from invoke_stack import config
from invoke_stack.commands import lock
from invoke_stack.runtimes.local.runtime import LocalRuntime
from tests.faults.harm import frozen


def findings(stack):
    """What it finds, each in one text, by check; it must say so with its exit code."""
    result = stack.inv("doctor", "--json")
    seen = json.loads(result.stdout)["findings"]
    assert result.returncode == (3 if seen else 0)
    for each in seen:
        assert list(each) == ["check", "what", "evidence", "remedy"]
    return {
        each["check"]: " | ".join([each["what"], *each["evidence"], each["remedy"]])
        for each in seen
    }


OWN = ("running", "restarts", "memory", "health", "heartbeats", "schema", "signals", "disk")


def test_nothing_is_wrong_with_a_stack_that_is_healthy(stack):
    def all_is_fine():
        seen = stack.json("doctor")
        assert list(seen) == ["runtime", "findings", "checks"]
        assert seen["runtime"] == stack.runtime
        results = {each["name"]: each["result"] for each in seen["checks"]}
        return seen["findings"] == [] and {results[name] for name in OWN} == {"fine"}

    wait_until("nothing is wrong", all_is_fine, 90)
    shown = stack.ok("doctor")
    assert shown.startswith("✓ nothing is wrong (")
    assert "✓ heartbeats" in shown
    assert "\x1b" not in shown


def test_it_takes_no_lock_and_changes_nothing(stack):
    before = {each["name"]: each["started_at"] for each in stack.json("status")["services"]}
    with lock.held(stack.root / ".local", "test"):
        wait_until("nothing is wrong", lambda: stack.inv("doctor").returncode == 0)
    assert {e["name"]: e["started_at"] for e in stack.json("status")["services"]} == before


def test_a_database_that_does_not_respond(stack):
    with frozen(stack, "postgres"):
        seen = []
        wait_until("it is told", lambda: seen.append(findings(stack)) or seen[-1], 20)
        found = seen[-1]
        told = found.get("health") or found["probes"]  # the latter once the probe has given up
        assert "inv restart postgres" in told
        # For people: what is wrong, the evidence, the remedy, each in a line.
        shown = stack.inv("doctor").stdout.splitlines()
        assert shown[0].startswith("✗ ")
        assert "→ inv restart postgres" in shown
    wait_until("healthy again", stack.is_healthy)


def test_a_schema_that_is_behind_and_the_remedy_that_is_named(stack):
    stack.run("backend", "alembic", "downgrade", "-1")
    try:
        wait_until("it is told", lambda: "schema" in findings(stack), 20)
        told = findings(stack)["schema"]
        assert "the schema is behind: 0002_deals_checks, the code needs 0003_deals_newest" in told
        assert told.endswith("pending: 0003_deals_newest | inv migrate")
    finally:
        stack.ok("migrate")
    wait_until("healthy again", stack.is_healthy)


def test_a_variable_that_is_set_and_not_taken_over_yet(stack):
    with stack.setting("ALEMBIC_CMD=alembik upgrade head"):
        found = findings(stack)
        assert "program not found: alembik" in found["alembic-cmd"]
        assert "has changed since it was created" in found["configuration"]


def test_a_worker_that_is_silent(stack):
    if stack.runtime != "local":
        return  # there it takes half a minute; the probe itself is tested with the images
    heartbeat = stack.state / "run" / "worker.heartbeat"
    began = time.time() - 3600
    started = stack.state / "run" / "worker.started"
    os.utime(started, (began, began))
    with frozen(stack, "worker"):
        os.utime(heartbeat, (began + 60, began + 60))
        told = findings(stack)["heartbeats"]
    assert told.startswith("worker sends no heartbeat | silent for ")
    assert told.endswith("inv restart worker")


def test_the_command_of_a_main_process(stack):
    if stack.runtime == "local":  # of containers: tests/integration/compose/test_engine.py
        runtime = LocalRuntime(
            config.load(stack.root, config.DEFAULTS, {}, "local", profile=PROFILE)
        )
        commands = {each.service: runtime.main_command(each) for each in runtime.replicas()}
        assert "app.main:app" in commands["backend"]
        assert "celery" in commands["worker"]
