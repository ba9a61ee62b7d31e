"""The four scenarios of the source document, and changes of a checkout, on real containers."""

import json
import re

import httpx
import pytest

from harness.compose_stacks import compose_stack
from harness.servers import wait_until
from tests.faults.inject import locked

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with compose_stack(tmp_path_factory.mktemp("scenarios")) as running:
        running.environment |= {"MIGRATE_DELAYS": "1 1", "DB_WAIT_TIMEOUT": "20"}
        running.ok("up", timeout=600)
        yield running


@pytest.fixture(autouse=True)
def _healthy_again(stack):
    yield
    wait_until("the stack is healthy again", stack.is_healthy, 90)


def sql(stack, statement):
    stack.compose(
        *("exec", "-T", "postgres", "psql", "-U", "scout", "-d", "deal_scout", "-qc", statement)
    )


def test_scenario_1_restart_waits_for_a_slow_postgres(stack):
    stack.compose("pause", "postgres")
    try:
        process, output = stack.restart_until("Attempt 3/20... (waiting)")
    finally:
        stack.compose("unpause", "postgres")
    text = output + process.stdout.read()
    assert process.wait(60) == 0, text
    assert "✓ backend is healthy" in text
    assert re.search(r"database +\d+\.\d s +\d+ attempts +answered", text)


def test_scenario_2_migration_succeeds_on_the_second_attempt(stack):
    # The first attempt meets a lock, and fails after its lock_timeout (5 s).
    sql(stack, "DELETE FROM alembic_version WHERE version_num LIKE '0003%'")
    sql(stack, "INSERT INTO alembic_version VALUES ('0002_deals_checks')")
    with locked(stack, "alembic_version"):
        process, output = stack.restart_until("✗ Alembic exited with code 1.")
    text = output + process.stdout.read()
    assert process.wait(60) == 0, text
    assert "✗ Alembic exited with code 1." in text
    assert "Retrying in 1s..." in text
    assert re.search(r"migrations +\d+\.\d s +2 attempts +applied", text)


def test_scenario_3_failing_migration_starts_degraded(stack):
    sql(stack, "ALTER TABLE deals RENAME TO hidden")
    sql(stack, "UPDATE alembic_version SET version_num = '0001_deals'")
    try:
        result = stack.inv("restart-backend")
        assert result.returncode == 3
        assert "⚠️  Migrations did not complete after 2 attempts." in result.stdout
        assert "WARNING: Service will start but may have incomplete schema." in result.stdout
        assert "! backend is degraded after" in result.stdout
        assert stack.json("health")["state"] == "degraded"
        assert httpx.get(stack.url() + "/health", trust_env=False).status_code == 200
        assert httpx.get(stack.url() + "/deals", trust_env=False).status_code == 503
    finally:
        sql(stack, "ALTER TABLE hidden RENAME TO deals")
        sql(stack, "UPDATE alembic_version SET version_num = '0003_deals_newest'")
    wait_until("it is healthy again without a restart", stack.is_healthy, 60)


def test_scenario_4_backend_survives_a_crashed_postgres(stack):
    started = stack.service("backend")["started_at"]
    stack.compose("kill", "postgres")
    try:
        wait_until("it is unhealthy", lambda: not stack.is_healthy(), 10)
        check_crashed_postgres(stack)
    finally:
        stack.compose("start", "postgres")
    wait_until("it recovers", stack.is_healthy, 60)
    assert stack.service("backend")["started_at"] == started


def check_crashed_postgres(stack):
    health = stack.json("health")
    assert (health["state"], health["http_status"]) == ("unhealthy", 503)
    assert (health["health"]["db"], health["health"]["redis"]) == (False, True)
    assert stack.service("postgres")["state"] == "exited"


def test_up_build_recreates_services_with_changed_code(stack):
    before = {s["name"]: s["started_at"] for s in stack.json("status")["services"]}
    version = stack.root / "backend" / "app" / "__init__.py"
    text = version.read_text()
    version.write_text(text + '\nVERSION = "9.9.9"\n')
    try:
        stack.compose("build", "backend")
        stderr = stack.inv("restart-backend", "--no-logs").stderr
        assert "its image has been rebuilt" in stderr
        stack.ok("up", "--build", timeout=300)
        after = {s["name"]: s["started_at"] for s in stack.json("status")["services"]}
        changed = {name for name in after if after[name] != before[name]}
        # Compose recreates what depends on a recreated service as well: the frontend.
        assert changed == {"backend", "worker", "beat", "frontend"}
        assert stack.json("health")["health"]["version"] == "9.9.9"
    finally:
        version.write_text(text)


def test_restart_shows_exit_code_and_last_lines_of_a_failed_container(stack):
    stack.compose("stop", "backend")
    try:
        stack.inv("up", env={"MIGRATE_DELAYS": "1 1", "UVICORN_CMD": "no-such-program"}, timeout=60)
        result = stack.inv("restart-backend", "--timeout", "60")
        assert result.returncode == 3
        assert "✗ backend failed" in result.stdout
        assert "no-such-program" in result.stdout
        # Docker may have restarted it before the first poll.
        assert re.search("exit code 127|it exited|it was restarted again", result.stdout), result
    finally:
        stack.ok("up", timeout=120)


def states(stack, environment):
    health = json.loads(stack.inv("health", "--json", env=environment).stdout)
    return {replica["replica"]: replica["state"] for replica in health["replicas"]}


def test_restart_gives_each_replica_a_verdict(stack):
    stack.compose("stop", "backend")
    override = stack.root / "many.yml"
    override.write_text("services: {backend: {ports: !reset [], deploy: {replicas: 3}}}\n")
    many = {"COMPOSE_FILE": "docker-compose.yml:many.yml"}
    try:
        result = stack.inv("up", env=many, timeout=180)
        assert result.returncode == 0, result
        # No replica publishes a port: requests go to the containers' own addresses.
        wait_until("all are healthy", lambda: set(states(stack, many).values()) == {"healthy"}, 60)
        assert list(states(stack, many)) == ["backend-1", "backend-2", "backend-3"]
        result = stack.inv("restart-backend", "--json", env=many)
        replicas = json.loads(result.stdout)["replicas"]
        assert result.returncode == 0, result
        assert [replica["verdict"] for replica in replicas] == ["healthy"] * 3
        assert len({replica["started_at"] for replica in replicas}) == 3
        rows = stack.inv("status", env=many).stdout
        assert all(f"backend-{number}" in rows for number in (1, 2, 3))
    finally:
        override.unlink()
        stack.ok("up", timeout=180)


def test_get_runs_in_the_container_if_no_port_is_reachable(stack, monkeypatch):
    from invoke_stack.config import Config
    from invoke_stack.runtimes.compose.runtime import ComposeRuntime
    from invoke_stack.runtimes.docker import engine

    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(engine, "publishes_here", lambda client: False)
    runtime = ComposeRuntime(Config(stack.root, "compose", "backend", {}))
    [replica] = runtime.replicas("worker")
    assert replica.ports == ()
    answer = runtime.get(replica, "/health", 2.0)
    assert answer.status is None
    assert "refused" in answer.problem
    answer = runtime.get(runtime.replicas("backend")[0], "/health", 2.0)
    assert (answer.status, answer.body["ok"], answer.through_engine) == (200, True, True)
    answer = runtime.get(runtime.replicas("backend")[0], "/nowhere", 2.0)
    assert (answer.status, answer.body) == (404, {"detail": "Not Found"})


def test_up_refuses_data_without_its_passwords(stack):
    file = stack.root / ".env"
    text = file.read_text()
    file.unlink()
    try:
        result = stack.inv("up")
        assert result.returncode == 4
        assert ".env is missing" in result.stderr
        assert not file.exists()
    finally:
        file.write_text(text)
