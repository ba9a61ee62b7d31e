"""The probes, with dependencies that are healthy, frozen, killed or locked."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from harness import servers
from tests.integration.backend import processes
from tests.integration.backend.processes import Api, add_revision

HEAD = "0003_deals_newest"
PROBES = ("/health", "/ready", "/live", "/migrations", "/metrics", "/overview")
MAX_DURATION = 2.0  # seconds, for any probe at any time


@dataclass
class Stack:
    """An application with its own servers. A test that breaks them must restore them."""

    api: Api
    postgres: servers.Postgres
    redis: servers.Redis
    environment: dict[str, str]

    @contextlib.contextmanager
    def cursor(self) -> Iterator[object]:
        with contextlib.closing(self.postgres.connect("scouts")) as connection:
            yield connection.cursor()

    def probe(self, path: str = "/health") -> httpx.Response:
        started_at = time.monotonic()
        response = self.api.get(path)
        assert time.monotonic() - started_at < MAX_DURATION
        return response


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    postgres = servers.make_postgres(folder / "postgres")
    redis = servers.make_redis(folder / "redis")
    with servers.running(postgres), servers.running(redis):
        with contextlib.closing(postgres.connect()) as connection:
            connection.cursor().execute("CREATE DATABASE scouts")
        environment = servers.clean_environment(
            **postgres.environment("scouts"), **redis.environment(), RUN_DIR=str(folder)
        )
        processes.migrate(environment)
        with processes.serving(environment, folder) as api:
            yield Stack(api, postgres, redis, environment)


@pytest.fixture(autouse=True)
def ready(stack: Stack) -> Iterator[None]:
    """Wait until the stack is ready, before and after every test."""
    stack.api.until("/ready", 200, 15)
    yield
    stack.api.until("/ready", 200, 15)


def test_probes_of_a_healthy_stack(stack: Stack) -> None:
    response = stack.probe()
    body = response.json()
    keys = ["ok", "db", "redis", "queue_depth", "version", "time", "phase", "migrations"]
    assert list(body) == keys
    time_of_response = datetime.fromisoformat(body.pop("time"))
    assert time_of_response.utcoffset() == timedelta(0)
    assert body == {
        "ok": True,
        "db": True,
        "redis": True,
        "queue_depth": 0,
        "version": "0.1.0",
        "phase": "serving",
        "migrations": "current",
    }
    assert stack.probe("/migrations").json() == {"current": HEAD, "head": HEAD, "pending": []}
    for path in PROBES:
        response = stack.probe(path)
        assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")


def test_metrics_have_bounded_labels(stack: Stack) -> None:
    stack.api.get("/deals/123456789")
    stack.api.get("/any/unknown/path")
    stack.api.request("BREW", "/deals")
    lines = stack.probe("/metrics").text.splitlines()
    assert 'deal_scout_up{dependency="db"} 1.0' in lines
    assert 'deal_scout_up{dependency="redis"} 1.0' in lines
    assert "deal_scout_queue_depth 0.0" in lines
    assert 'deal_scout_schema{state="current"} 1.0' in lines
    assert 'deal_scout_schema{state="behind"} 0.0' in lines
    count = "deal_scout_http_request_seconds_count"
    assert f'{count}{{method="GET",path="/deals/{{id}}",status="404"}} 1.0' in lines
    assert f'{count}{{method="GET",path="other",status="404"}} 1.0' in lines
    assert any(line.startswith(f'{count}{{method="other"') for line in lines)
    assert not any("unknown/path" in line or "123456789" in line for line in lines)


def test_health_fails_while_postgres_is_frozen(stack: Stack) -> None:
    """F1: 503 in time, and healthy again soon after."""
    stack.postgres.freeze()
    try:
        servers.wait_until("/health answers 503", lambda: stack.probe().status_code == 503, 3)
        for _ in range(4):
            body = stack.probe().json()
            assert (body["ok"], body["db"], body["redis"]) == (False, False, True)
            assert body["migrations"] == "current"  # the last known state
            assert stack.probe("/ready").status_code == 503
            assert stack.probe("/overview").status_code == 503
            assert stack.probe("/live").status_code == 200
        assert 'deal_scout_up{dependency="db"} 0.0' in stack.probe("/metrics").text

        started_at = time.monotonic()
        response = stack.api.get("/deals")
        assert time.monotonic() - started_at < 8
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        result = processes.run(
            "python", "-m", "app.health.schema", env=stack.environment, timeout=10
        )
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    finally:
        stack.postgres.thaw()
    stack.api.until("/health", 200, 10)
    assert stack.api.get("/deals").status_code == 200


def test_health_fails_when_the_postmaster_hangs_but_sessions_answer(stack: Stack) -> None:
    postmaster = next(
        process for process in stack.postgres.processes() if process.name() == "postgres"
    )
    postmaster.suspend()
    try:
        servers.wait_until("/health answers 503", lambda: stack.probe().status_code == 503, 15)
        for _ in range(20):
            assert stack.probe().json()["db"] is False
    finally:
        postmaster.resume()
    stack.api.until("/health", 200, 10)


def test_health_fails_while_redis_is_frozen(stack: Stack) -> None:
    """F3."""
    assert stack.api.post("/scouts").status_code == 202  # leaves a connection open
    stack.redis.client().delete("celery")
    stack.redis.freeze()
    try:
        servers.wait_until("/health answers 503", lambda: stack.probe().status_code == 503, 3)
        for _ in range(4):
            body = stack.probe().json()
            assert (body["db"], body["redis"], body["queue_depth"]) == (True, False, None)
            assert stack.probe("/overview").json()["heartbeats"] is None
        assert "deal_scout_queue_depth NaN" in stack.probe("/metrics").text
        for _ in range(2):
            started_at = time.monotonic()
            response = stack.api.post("/scouts")
            assert time.monotonic() - started_at < 5
            assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    finally:
        stack.redis.thaw()
    stack.api.until("/health", 200, 10)
    stack.redis.client().delete("celery")


def test_health_recovers_after_postgres_and_redis_crash(stack: Stack) -> None:
    for server, key in ((stack.postgres, "db"), (stack.redis, "redis")):
        server.kill()
        stack.api.until("/health", 503, 5)
        assert stack.probe().json()[key] is False
        assert stack.api.get("/deals").status_code == (503 if key == "db" else 200)
        server.start()
        stack.api.until("/health", 200, 10)
        assert stack.api.get("/deals").status_code == 200


def test_checks_reuse_connections_and_replace_lost_ones(stack: Stack) -> None:
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'deal-scout health'"
    with stack.cursor() as cursor:

        def connections() -> set[int]:
            cursor.execute(query)
            return {pid for (pid,) in cursor.fetchall()}

        before = connections()
        assert len(before) == 2
        threads = [threading.Thread(target=stack.probe) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert connections() == before
        cursor.execute(f"SELECT pg_terminate_backend(pid) FROM ({query}) AS ours")
        servers.wait_until("the connections are closed", lambda: not connections() & before, 5)
        stack.api.until("/health", 200, 5)
        servers.wait_until(
            "there are new connections", lambda: stack.probe() and len(connections()) == 2, 5
        )


def test_queue_depth_counts_all_unfinished_tasks(stack: Stack) -> None:
    client = stack.redis.client()
    client.rpush("celery", "queued")
    client.rpush("taken", "in delivery to a worker")
    client.hset("unacked", "taken", "by a worker that was killed")
    try:
        servers.wait_until("all three count", lambda: stack.api.health()["queue_depth"] == 3, 5)
    finally:
        client.flushall()


def test_overview_reports_the_boot_and_heartbeats(stack: Stack) -> None:
    health, overview = stack.probe().json(), stack.probe("/overview").json()
    assert list(overview) == [*health, "phases", "heartbeats"]
    assert overview["phases"] == []  # there is no boot state
    assert overview["heartbeats"] == {"worker": None, "beat": None}
    client = stack.redis.client()
    client.set("deal-scout:heartbeat:worker", 1, px=86_400_000 - 40_000)
    boot = Path(stack.environment["RUN_DIR"]) / "boot"
    boot.write_text(
        "phase=waiting\ndatabase_began=1000.25\nphase=migrating\ndatabase_outcome=timed out\n"
        "database_attempts=60\nmigrations_began=1060.5\nmigrations_attempts=2\nphase=serving\n"
        "migrations=applied\nmigrations_outcome=applied\napplication_began=1063.%N\n"
        "application_outcome=serving\napplication_ended=1063.75\n"
    )
    try:
        servers.wait_until("it has phases", lambda: stack.probe("/overview").json()["phases"], 5)
        overview = stack.probe("/overview").json()
        assert 40 <= overview["heartbeats"]["worker"] < 60
        phases = [list(phase.values()) for phase in overview["phases"]]
        assert phases == [
            ["database", "1970-01-01T00:16:40.250+00:00", 60.25, 60, "timed out"],
            ["migrations", "1970-01-01T00:17:40.500+00:00", 2.5, 2, "applied"],
            ["application", "1970-01-01T00:17:43.000+00:00", 0.75, 1, "serving"],
        ]
    finally:
        boot.unlink()
        client.delete("deal-scout:heartbeat:worker")


def test_ready_depends_on_the_schema(stack: Stack) -> None:
    boot = Path(stack.environment["RUN_DIR"]) / "boot"

    def migrations_after(version: str, state: str) -> dict[str, object]:
        with stack.cursor() as cursor:
            cursor.execute("UPDATE alembic_version SET version_num = %s", [version])
        servers.wait_until(state, lambda: stack.api.health()["migrations"] == state, 5)
        assert stack.probe("/health").status_code == 200
        assert stack.probe("/ready").status_code == (200 if state == "current" else 503)
        status = 200 if state in ("current", "ahead") else 503
        assert stack.probe("/ready?ahead=ok").status_code == status
        return stack.probe("/migrations").json()

    pending = migrations_after("0002_deals_checks", "behind")["pending"]
    assert pending == [HEAD]
    boot.write_text("phase=serving\nmigrations=failed\n")
    migrations_after("0002_deals_checks", "failed")
    migrations = migrations_after("0009_from_the_future", "ahead")
    assert migrations == {"current": "0009_from_the_future", "head": HEAD, "pending": []}
    migrations_after(HEAD, "current")  # in the background, after a degraded start
    boot.unlink()


def test_ready_recovers_when_invalid_revisions_are_fixed(
    environment: dict[str, str], project: Path, tmp_path: Path, stack: Stack
) -> None:
    # A schema with two heads is never current, but the application serves.
    processes.migrate(environment)
    other = add_revision(project, "0003_other", "pass", after="0002_deals_checks")
    with processes.serving(environment, tmp_path, cwd=project) as api:
        assert api.health()["migrations"] == "unknown"
        (tmp_path / "boot").write_text("migrations=failed\n")
        servers.wait_until("failed", lambda: api.health()["migrations"] == "failed", 5)
        assert api.get("/ready").status_code == 503
        assert api.get("/migrations").json()["head"] == "0003_deals_newest,0003_other"
    other.write_text("revision = (\n")
    with processes.serving(environment, tmp_path, cwd=project) as api:
        assert api.health()["migrations"] == "failed"
        other.unlink()
        api.until("/ready", 200, 5)


def test_application_starts_without_postgres_and_redis(tmp_path: Path) -> None:
    no_servers = servers.clean_environment(
        **{"DB_HOST": "127.0.0.1", "DB_PORT": "1", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1"},
        RUN_DIR=str(tmp_path),
    )
    with processes.serving(no_servers, tmp_path) as api:
        body = api.health()
        assert (body["db"], body["redis"], body["migrations"]) == (False, False, "unknown")
        assert api.get("/live").status_code == 200
        assert api.get("/migrations").json() == {"current": None, "head": HEAD, "pending": None}
        assert api.get("/deals").status_code == 503
        assert api.post("/scouts").status_code == 503


def test_application_stops_the_responder(environment: dict[str, str], tmp_path: Path) -> None:
    # The responder is a child of the process that becomes Uvicorn.
    port = servers.free_port()
    script = f"sleep 1000 & export RESPONDER_PID=$!; exec uvicorn app.main:app --port {port}"
    environment["PATH"] = f"{processes.BIN}{os.pathsep}{environment['PATH']}"
    log = tmp_path / "log"
    with processes.running("/bin/sh", "-c", script, env=environment, log=log) as process:
        process.until("Application startup complete.")
        assert psutil.Process(process.process.pid).children() == []


def test_responses_and_log_contain_no_secret(stack: Stack) -> None:
    texts = [stack.probe(path).text for path in (*PROBES, "/deals")]
    texts.append(stack.api.process.log())  # includes all the faults above
    for text in texts:
        assert servers.PASSWORD not in text
        assert "p%40ss" not in text
    for text in texts[:-1]:
        assert "127.0.0.1" not in text
        assert str(stack.postgres.port) not in text
