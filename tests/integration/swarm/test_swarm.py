"""The stack on a swarm of three nodes: what the single node of the contract cannot show."""

import json
import re

import pytest

from harness.servers import wait_until
from tests.integration.swarm.load import load

pytestmark = [pytest.mark.engine, pytest.mark.matrix]

# Served by the application alone: before it serves it is a 503, and no busy database matters.
UNTIL_READY = "/openapi.json"


def backends(stack):
    (entry,) = [s for s in stack.json("status")["services"] if s["name"] == "backend"]
    return {each["replica"]: each for each in entry["replicas"]}


def migrations_applied(stack):
    """How often a revision was applied, over all replicas' logs."""
    lines = stack.ok("logs", "--tail", "5000", "--grep", "Running upgrade").splitlines()
    return [re.search(r"-> (\w+)", line)[1] for line in lines]


def test_replicas_that_start_at_once_migrate_exactly_once(shop):
    applied = migrations_applied(shop)
    assert sorted(applied) == sorted(set(applied))


def test_health_asks_every_replica_on_every_node(shop):
    seen = shop.json("health")
    assert {each["replica"] for each in seen["replicas"]} == {"backend-1", "backend-2", "backend-3"}
    assert {each["state"] for each in seen["replicas"]} == {"healthy"}
    assert len({each["node"] for each in seen["replicas"]}) == 3


def test_logs_come_from_all_replicas_with_their_names_and_nodes(shop):
    lines = map(json.loads, shop.ok("logs", "--tail", "5000", "--json").splitlines())
    told = {(line["replica"], line["node"]) for line in lines if "Starting Uvicorn" in line["text"]}
    assert {(name, each["node"]) for name, each in backends(shop).items()} <= told


def test_a_rolling_restart_under_load_fails_no_request(shop):
    before = backends(shop)
    with load(shop.url() + UNTIL_READY) as seen:
        result = shop.inv("restart-backend", "--json", timeout=600)
    verdict = json.loads(result.stdout)
    assert result.returncode == 0, (verdict, result.stderr)
    assert {each["verdict"] for each in verdict["replicas"]} == {"healthy"}
    assert all(each["node"] for each in verdict["replicas"])
    after = backends(shop)
    assert all(after[name]["started_at"] > before[name]["started_at"] for name in before)
    assert seen.outcomes["200"] > 100
    assert seen.failed == {}


def test_a_single_replica_is_restarted_under_load_without_a_failed_request(shop):
    shop.ok("scale", "backend=1", timeout=300)
    try:
        with load(shop.url() + UNTIL_READY) as seen:
            shop.ok("restart-backend", "--no-logs", timeout=600)
        assert seen.failed == {}
        assert "it has 1, and would have 3" in shop.ok("scale", "backend=3", "--dry-run")
    finally:
        shop.ok("scale", "backend=3", timeout=600)


def test_a_bad_image_is_rolled_back_under_load_without_a_failed_request(shop, machines):
    good = f"deal-scout-backend:{shop.environment['IMAGE_TAG']}"
    for node in machines:
        made = node.docker("create", good).stdout.strip()
        node.docker("commit", "--change", 'ENTRYPOINT ["false"]', made, "deal-scout-backend:bad")
        node.docker("rm", made)
    before = backends(shop)
    file = shop.root / "deploy" / "swarm.yml"
    text = file.read_text("utf-8")
    try:
        bad = text.replace("  backend:\n", "  backend:\n    image: deal-scout-backend:bad\n")
        file.write_text(bad, "utf-8")
        with load(shop.url() + UNTIL_READY) as seen:
            result = shop.inv("up", timeout=600)
            assert result.returncode == 3, result
            assert "backend: the update was rolled back: non-zero exit (1)" in result.stderr
            assert "inv logs backend" in result.stderr
            wait_until("three serve", lambda: shop.json("health")["state"] == "healthy", 120)
        assert seen.failed == {}
    finally:
        file.write_text(text, "utf-8")
    # What the bad update did not come to serves on; `up` with the good image has nothing to undo.
    shop.ok("up", timeout=600)
    kept = [name for name, each in backends(shop).items() if each == before[name]]
    assert len(kept) >= 2


def test_twenty_replicas(shop):
    shop.ok("scale", "backend=20", timeout=900)
    try:
        seen = shop.json("health", "--timeout", "20", timeout=300)
        assert len(seen["replicas"]) == 20
        assert seen["state"] == "healthy"
        assert len(backends(shop)) == 20
        applied = migrations_applied(shop)
        assert sorted(applied) == sorted(set(applied))
    finally:
        shop.ok("scale", "backend=3", timeout=300)


def test_data_is_not_scaled(shop):
    result = shop.inv("scale", "postgres=2")
    assert (result.returncode, "volume" in result.stderr) == (2, True)
    assert shop.inv("scale", "frontend=2").returncode == 2


def test_a_node_that_is_no_manager_is_told_apart(shop, machines):
    for words in ("status", "up", "down", "restart-backend", "scale backend=3"):
        result = shop.inv(*words.split(), env={"DOCKER_HOST": machines[1].host})
        assert (result.returncode, result.stdout) == (4, ""), words
        assert "no manager of a swarm" in result.stderr
        assert len(result.stderr.splitlines()) == 2


def test_a_backup_is_made_where_the_data_lives(shop):
    archive = shop.ok("backup", timeout=300).strip()
    assert "0003_deals_newest" in archive


def test_a_partition_is_told_and_heals(shop, machines):
    cut_off = machines[2]
    cut_off.disconnect()
    try:
        wait_until("its tasks run elsewhere", lambda: runs_without(shop, cut_off), 120)
        assert shop.inv("health").returncode == 0
        # It may have had no task of the backend; the manager notices in its own time.
        told = f"{cut_off.name} is down"
        wait_until(told, lambda: told in shop.inv("logs", "--tail", "1").stderr, 60)
    finally:
        cut_off.reconnect()
    wait_until("the node is back", lambda: is_ready(machines[0], cut_off), 60)


def test_the_tasks_of_a_node_that_dies_are_taken_over(shop, machines):
    dead = machines[1]
    dead.kill()
    try:
        wait_until("its tasks run elsewhere", lambda: runs_without(shop, dead), 120)
        assert shop.inv("health").returncode == 0
    finally:
        dead.start()
    wait_until("the node is back", lambda: is_ready(machines[0], dead), 60)


def runs_without(stack, node):
    seen = stack.json("health")
    places = [each["node"] for each in seen.get("replicas", ())]
    return len(places) == 3 and node.name not in places and seen["state"] == "healthy"


def is_ready(manager, node):
    listed = manager.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}").stdout
    return f"{node.name} Ready" in listed
