"""The probes, with the dependencies well, frozen, killed and locked."""

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
NOT_HANGING = 2.0  # seconds, for any probe at any time


@dataclass
class Stack:
    """An application with servers of its own, which a test may harm and must heal."""

    api: Api
    postgres: servers.Postgres
    redis: servers.Redis
    environment: dict[str, str]

    @contextlib.contextmanager
    def cursor(self) -> Iterator[object]:
        with contextlib.closing(self.postgres.connect("scouts")) as connection:
            yield connection.cursor()

    def probe(self, path: str = "/health") -> httpx.Response:
        began = time.monotonic()
        answer = self.api.get(path)
        assert time.monotonic() - began < NOT_HANGING
        return answer


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
def well(stack: Stack) -> Iterator[None]:
    """Every test begins, and leaves the stack, in good health."""
    stack.api.until("/ready", 200, 15)
    yield
    stack.api.until("/ready", 200, 15)


def test_when_all_is_well(stack: Stack) -> None:
    answer = stack.probe()
    body = answer.json()
    keys = ["ok", "db", "redis", "queue_depth", "version", "time", "phase", "migrations"]
    assert list(body) == keys
    written = datetime.fromisoformat(body.pop("time"))
    assert written.utcoffset() == timedelta(0)
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
        answer = stack.probe(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")


def test_metrics(stack: Stack) -> None:
    stack.api.get("/deals/123456789")
    stack.api.get("/whatever/a/stranger/asks")
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
    assert not any("stranger" in line or "123456789" in line for line in lines)


def test_postgres_frozen(stack: Stack) -> None:
    """F1: 503 in time, and healthy again soon after."""
    stack.postgres.freeze()
    try:
        servers.wait_until("it is noticed", lambda: stack.probe().status_code == 503, 3)
        for _ in range(4):
            body = stack.probe().json()
            assert (body["ok"], body["db"], body["redis"]) == (False, False, True)
            assert body["migrations"] == "current"  # the last that was known
            assert stack.probe("/ready").status_code == 503
            assert stack.probe("/overview").status_code == 503
            assert stack.probe("/live").status_code == 200
        assert 'deal_scout_up{dependency="db"} 0.0' in stack.probe("/metrics").text

        began = time.monotonic()
        answer = stack.api.get("/deals")
        assert time.monotonic() - began < 8
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        told = processes.run("python", "-m", "app.health.schema", env=stack.environment, timeout=10)
        assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    finally:
        stack.postgres.thaw()
    stack.api.until("/health", 200, 10)
    assert stack.api.get("/deals").status_code == 200


def test_a_postmaster_that_hangs_while_its_sessions_answer(stack: Stack) -> None:
    postmaster = next(each for each in stack.postgres.processes() if each.name() == "postgres")
    postmaster.suspend()
    try:
        servers.wait_until("it is noticed", lambda: stack.probe().status_code == 503, 15)
        for _ in range(20):
            assert stack.probe().json()["db"] is False
    finally:
        postmaster.resume()
    stack.api.until("/health", 200, 10)


def test_redis_frozen(stack: Stack) -> None:
    """F3."""
    assert stack.api.post("/scouts").status_code == 202  # leaves a connection open
    stack.redis.client().delete("celery")
    stack.redis.freeze()
    try:
        servers.wait_until("it is noticed", lambda: stack.probe().status_code == 503, 3)
        for _ in range(4):
            body = stack.probe().json()
            assert (body["db"], body["redis"], body["queue_depth"]) == (True, False, None)
            assert stack.probe("/overview").json()["heartbeats"] is None
        assert "deal_scout_queue_depth NaN" in stack.probe("/metrics").text
        for _ in range(2):
            began = time.monotonic()
            answer = stack.api.post("/scouts")
            assert time.monotonic() - began < 5
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    finally:
        stack.redis.thaw()
    stack.api.until("/health", 200, 10)
    stack.redis.client().delete("celery")


def test_postgres_and_redis_crash_and_come_back(stack: Stack) -> None:
    for server, key in ((stack.postgres, "db"), (stack.redis, "redis")):
        server.kill()
        stack.api.until("/health", 503, 5)
        assert stack.probe().json()[key] is False
        assert stack.api.get("/deals").status_code == (503 if key == "db" else 200)
        server.start()
        stack.api.until("/health", 200, 10)
        assert stack.api.get("/deals").status_code == 200


def test_checks_keep_their_connections_and_replace_lost_ones(stack: Stack) -> None:
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
        servers.wait_until("they end", lambda: not connections() & before, 5)
        stack.api.until("/health", 200, 5)
        servers.wait_until(
            "there are new ones", lambda: stack.probe() and len(connections()) == 2, 5
        )


def test_the_queue_holds_all_that_is_not_finished(stack: Stack) -> None:
    client = stack.redis.client()
    client.rpush("celery", "waits")
    client.rpush("taken", "on its way to a worker")
    client.hset("unacked", "taken", "by a worker that is dead now")
    try:
        servers.wait_until("all three count", lambda: stack.api.state()["queue_depth"] == 3, 5)
    finally:
        client.flushall()


def test_overview(stack: Stack) -> None:
    health, overview = stack.probe().json(), stack.probe("/overview").json()
    assert list(overview) == [*health, "phases", "heartbeats"]
    assert overview["phases"] == []  # nobody has recorded a boot
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
        servers.wait_until("the boot is seen", lambda: stack.probe("/overview").json()["phases"], 5)
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


def test_schema_states(stack: Stack) -> None:
    boot = Path(stack.environment["RUN_DIR"]) / "boot"

    def schema_becomes(state: str, version: str) -> dict[str, object]:
        with stack.cursor() as cursor:
            cursor.execute("UPDATE alembic_version SET version_num = %s", [version])
        servers.wait_until(state, lambda: stack.api.state()["migrations"] == state, 5)
        assert stack.probe("/health").status_code == 200
        assert stack.probe("/ready").status_code == (200 if state == "current" else 503)
        lenient = 200 if state in ("current", "ahead") else 503
        assert stack.probe("/ready?ahead=ok").status_code == lenient
        return stack.probe("/migrations").json()

    pending = schema_becomes("behind", "0002_deals_checks")["pending"]
    assert pending == [HEAD]
    boot.write_text("phase=serving\nmigrations=failed\n")
    schema_becomes("failed", "0002_deals_checks")
    known = schema_becomes("ahead", "0009_from_the_future")
    assert known == {"current": "0009_from_the_future", "head": HEAD, "pending": []}
    schema_becomes("current", HEAD)  # in the background, after a degraded start
    boot.unlink()


def test_broken_scripts(
    environment: dict[str, str], project: Path, tmp_path: Path, stack: Stack
) -> None:
    """Two heads cannot be current; the application serves all the same, and sees the repair."""
    processes.migrate(environment)
    other = add_revision(project, "0003_other", "pass", after="0002_deals_checks")
    with processes.serving(environment, tmp_path, cwd=project) as api:
        assert api.state()["migrations"] == "unknown"
        (tmp_path / "boot").write_text("migrations=failed\n")
        servers.wait_until("failed", lambda: api.state()["migrations"] == "failed", 5)
        assert api.get("/ready").status_code == 503
        assert api.get("/migrations").json()["head"] == "0003_deals_newest,0003_other"
    other.write_text("revision = (\n")
    with processes.serving(environment, tmp_path, cwd=project) as api:
        assert api.state()["migrations"] == "failed"
        other.unlink()
        api.until("/ready", 200, 5)


def test_starts_without_anything(tmp_path: Path) -> None:
    nobody = {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1"}
    environment = servers.clean_environment(**nobody, RUN_DIR=str(tmp_path))
    with processes.serving(environment, tmp_path) as api:
        body = api.state()
        assert (body["db"], body["redis"], body["migrations"]) == (False, False, "unknown")
        assert api.get("/live").status_code == 200
        assert api.get("/migrations").json() == {"current": None, "head": HEAD, "pending": None}
        assert api.get("/deals").status_code == 503
        assert api.post("/scouts").status_code == 503


def test_the_responder_is_dismissed(environment: dict[str, str], tmp_path: Path) -> None:
    """It is a child of the process that becomes Uvicorn."""
    port = servers.free_port()
    script = f"sleep 1000 & export RESPONDER_PID=$!; exec uvicorn app.main:app --port {port}"
    environment["PATH"] = f"{processes.BIN}{os.pathsep}{environment['PATH']}"
    log = tmp_path / "log"
    with processes.running("/bin/sh", "-c", script, env=environment, log=log) as process:
        process.until("Application startup complete.")
        assert psutil.Process(process.process.pid).children() == []


def test_no_answer_and_no_log_holds_a_secret(stack: Stack) -> None:
    texts = [stack.probe(path).text for path in (*PROBES, "/deals")]
    texts.append(stack.api.process.log())  # of all the faults above, too
    for text in texts:
        assert servers.PASSWORD not in text
        assert "p%40ss" not in text
    for text in texts[:-1]:
        assert "127.0.0.1" not in text
        assert str(stack.postgres.port) not in text
