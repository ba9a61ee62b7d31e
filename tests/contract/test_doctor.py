"""`inv doctor` on a real stack of each runtime."""

import json
import os
import time

from deal_scout_profile import PROFILE
from harness.servers import wait_until
from invoke_stack import config
from invoke_stack.commands import lock
from invoke_stack.runtimes.local.runtime import LocalRuntime
from tests.faults.inject import frozen


def findings(stack):
    """Return the findings by check, each as one text, and check the exit code."""
    result = stack.inv("doctor", "--json")
    entries = json.loads(result.stdout)["findings"]
    assert result.returncode == (3 if entries else 0)
    for entry in entries:
        assert list(entry) == ["check", "what", "evidence", "remedy"]
    return {
        entry["check"]: " | ".join([entry["what"], *entry["evidence"], entry["remedy"]])
        for entry in entries
    }


def started_at(stack):
    services = stack.json("status")["services"]
    return {service["name"]: service["started_at"] for service in services}


CHECKS = ("running", "restarts", "memory", "health", "heartbeats", "schema", "signals", "disk")


def test_doctor_finds_nothing_on_a_healthy_stack(stack):
    def is_all_fine():
        report = stack.json("doctor")
        assert list(report) == ["runtime", "findings", "checks"]
        assert report["runtime"] == stack.runtime
        results = {check["name"]: check["result"] for check in report["checks"]}
        return report["findings"] == [] and {results[name] for name in CHECKS} == {"fine"}

    wait_until("nothing is wrong", is_all_fine, 90)
    output = stack.ok("doctor")
    assert output.startswith("✓ no problems found (")
    assert "✓ heartbeats" in output
    assert "\x1b" not in output


def test_doctor_takes_no_lock_and_changes_nothing(stack):
    before = started_at(stack)
    with lock.hold(stack.root / ".local", "test"):
        wait_until("nothing is wrong", lambda: stack.inv("doctor").returncode == 0)
    assert started_at(stack) == before


def test_doctor_finds_a_hanging_database(stack):
    with frozen(stack, "postgres"):
        results = []
        wait_until("a finding", lambda: results.append(findings(stack)) or results[-1], 20)
        result = results[-1]
        finding = result.get("health") or result["probes"]  # `probes` once the probe has timed out
        assert "inv restart postgres" in finding
        # Without --json: the problem, its evidence and the remedy, one per line.
        lines = stack.inv("doctor").stdout.splitlines()
        assert lines[0].startswith("✗ ")
        assert "→ inv restart postgres" in lines
    wait_until("healthy again", stack.is_healthy)


def test_doctor_finds_a_schema_that_is_behind(stack):
    stack.run("backend", "alembic", "downgrade", "-1")
    try:
        wait_until("a finding", lambda: "schema" in findings(stack), 20)
        finding = findings(stack)["schema"]
        assert (
            "the schema is behind: 0002_deals_checks, the code needs 0003_deals_newest" in finding
        )
        assert finding.endswith("pending: 0003_deals_newest | inv migrate")
    finally:
        stack.ok("migrate")
    wait_until("healthy again", stack.is_healthy)


def test_doctor_finds_a_variable_that_is_not_applied_yet(stack):
    with stack.setting("ALEMBIC_CMD=alembik upgrade head"):
        result = findings(stack)
        assert "program not found: alembik" in result["alembic-cmd"]
        assert "has changed" in result["configuration"]


def test_doctor_finds_a_hanging_worker(stack):
    if stack.runtime != "local":
        return  # would take half a minute; the tests of the images cover the probe
    heartbeat = stack.state / "run" / "worker.heartbeat"
    an_hour_ago = time.time() - 3600
    started = stack.state / "run" / "worker.started"
    os.utime(started, (an_hour_ago, an_hour_ago))
    with frozen(stack, "worker"):
        os.utime(heartbeat, (an_hour_ago + 60, an_hour_ago + 60))
        finding = findings(stack)["heartbeats"]
    assert finding.startswith("worker sends no heartbeat | silent for ")
    assert finding.endswith("inv restart worker")


def test_main_command_of_the_local_runtime(stack):
    if stack.runtime == "local":  # containers: tests/integration/compose/test_engine.py
        runtime = LocalRuntime(
            config.load(stack.root, config.DEFAULTS, {}, "local", profile=PROFILE)
        )
        commands = {
            replica.service: runtime.main_command(replica) for replica in runtime.replicas()
        }
        assert "app.main:app" in commands["backend"]
        assert "celery" in commands["worker"]
