"""The stack on a swarm of three nodes; tests/contract covers a single node."""

import json
import re

import pytest

from harness.servers import wait_until
from tests.integration.swarm.load import load

pytestmark = [pytest.mark.engine, pytest.mark.matrix]

# Served by the application only: 503 until it is ready, and independent of the database.
APPLICATION_PATH = "/openapi.json"


def backends(stack):
    (entry,) = [s for s in stack.json("status")["services"] if s["name"] == "backend"]
    return {replica["replica"]: replica for replica in entry["replicas"]}


def migrations_applied(stack):
    """Return each revision once for every time a replica applied it."""
    lines = stack.ok("logs", "--tail", "5000", "--grep", "Running upgrade").splitlines()
    return [re.search(r"-> (\w+)", line)[1] for line in lines]


def test_replicas_that_start_together_migrate_once(shop):
    applied = migrations_applied(shop)
    assert sorted(applied) == sorted(set(applied))


def test_health_includes_every_replica_on_every_node(shop):
    replicas = shop.json("health")["replicas"]
    assert {replica["replica"] for replica in replicas} == {"backend-1", "backend-2", "backend-3"}
    assert {replica["state"] for replica in replicas} == {"healthy"}
    assert len({replica["node"] for replica in replicas}) == 3


def test_logs_include_all_replicas_with_names_and_nodes(shop):
    lines = map(json.loads, shop.ok("logs", "--tail", "5000", "--json").splitlines())
    logged = {
        (line["replica"], line["node"]) for line in lines if "Starting Uvicorn" in line["text"]
    }
    assert {(name, replica["node"]) for name, replica in backends(shop).items()} <= logged


def test_rolling_restart_under_load_fails_no_request(shop):
    before = backends(shop)
    with load(shop.url() + APPLICATION_PATH) as requests:
        result = shop.inv("restart-backend", "--json", timeout=600)
    verdict = json.loads(result.stdout)
    assert result.returncode == 0, (verdict, result.stderr)
    assert {replica["verdict"] for replica in verdict["replicas"]} == {"healthy"}
    assert all(replica["node"] for replica in verdict["replicas"])
    after = backends(shop)
    assert all(after[name]["started_at"] > before[name]["started_at"] for name in before)
    assert requests.outcomes["200"] > 100
    assert requests.failed == {}


def test_restart_of_a_single_replica_under_load_fails_no_request(shop):
    shop.ok("scale", "backend=1", timeout=300)
    try:
        with load(shop.url() + APPLICATION_PATH) as requests:
            shop.ok("restart-backend", "--no-logs", timeout=600)
        assert requests.failed == {}
        assert "it has 1, and would have 3" in shop.ok("scale", "backend=3", "--dry-run")
    finally:
        shop.ok("scale", "backend=3", timeout=600)


def test_rollback_of_a_bad_image_under_load_fails_no_request(shop, machines):
    good = f"deal-scout-backend:{shop.environment['IMAGE_TAG']}"
    for node in machines:
        container = node.docker("create", good).stdout.strip()
        change = 'ENTRYPOINT ["false"]'
        node.docker("commit", "--change", change, container, "deal-scout-backend:bad")
        node.docker("rm", container)
    before = backends(shop)
    file = shop.root / "deploy" / "swarm.yml"
    text = file.read_text("utf-8")
    try:
        bad = text.replace("  backend:\n", "  backend:\n    image: deal-scout-backend:bad\n")
        file.write_text(bad, "utf-8")
        with load(shop.url() + APPLICATION_PATH) as requests:
            result = shop.inv("up", timeout=600)
            assert result.returncode == 3, result
            assert "backend: the update was rolled back: non-zero exit (1)" in result.stderr
            assert "inv logs backend" in result.stderr
            wait_until("three serve", lambda: shop.json("health")["state"] == "healthy", 120)
        assert requests.failed == {}
    finally:
        file.write_text(text, "utf-8")
    # Replicas that the failed update did not reach keep running; `up` replaces none of them.
    shop.ok("up", timeout=600)
    unchanged = [name for name, replica in backends(shop).items() if replica == before[name]]
    assert len(unchanged) >= 2


def test_scale_to_twenty_replicas(shop):
    shop.ok("scale", "backend=20", timeout=900)
    try:
        health = shop.json("health", "--timeout", "20", timeout=300)
        assert len(health["replicas"]) == 20
        assert health["state"] == "healthy"
        assert len(backends(shop)) == 20
        applied = migrations_applied(shop)
        assert sorted(applied) == sorted(set(applied))
    finally:
        shop.ok("scale", "backend=3", timeout=300)


def test_scale_refuses_data_and_global_services(shop):
    result = shop.inv("scale", "postgres=2")
    assert (result.returncode, "volume" in result.stderr) == (2, True)
    assert shop.inv("scale", "frontend=2").returncode == 2


def test_verbs_refuse_a_node_that_is_not_a_manager(shop, machines):
    for command in ("status", "up", "down", "restart-backend", "scale backend=3"):
        result = shop.inv(*command.split(), env={"DOCKER_HOST": machines[1].host})
        assert (result.returncode, result.stdout) == (4, ""), command
        assert "this engine is not a swarm manager" in result.stderr
        assert len(result.stderr.splitlines()) == 2


def test_backup_runs_on_the_node_with_the_data(shop):
    archive = shop.ok("backup", timeout=300).strip()
    assert "0003_deals_newest" in archive


def test_partitioned_node_is_reported_and_returns(shop, machines):
    cut_off = machines[2]
    cut_off.disconnect()
    try:
        wait_until("its tasks run elsewhere", lambda: runs_without(shop, cut_off), 120)
        assert shop.inv("health").returncode == 0
        # If it had no task of the backend, the manager may not have noticed yet.
        notice = f"{cut_off.name} is down"
        wait_until(notice, lambda: notice in shop.inv("logs", "--tail", "1").stderr, 60)
    finally:
        cut_off.reconnect()
    wait_until("the node is back", lambda: is_ready(machines[0], cut_off), 60)


def test_tasks_of_a_dead_node_run_elsewhere(shop, machines):
    dead = machines[1]
    dead.kill()
    try:
        wait_until("its tasks run elsewhere", lambda: runs_without(shop, dead), 120)
        assert shop.inv("health").returncode == 0
    finally:
        dead.start()
    wait_until("the node is back", lambda: is_ready(machines[0], dead), 60)


def runs_without(stack, node):
    health = stack.json("health")
    nodes = [replica["node"] for replica in health.get("replicas", ())]
    return len(nodes) == 3 and node.name not in nodes and health["state"] == "healthy"


def is_ready(manager, node):
    output = manager.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}").stdout
    return f"{node.name} Ready" in output
