"""The startup responder, which serves on PORT before the application does."""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness import servers
from tests.integration.boot.boots import Boot

KEYS = ["ok", "db", "redis", "queue_depth", "version", "time", "phase", "migrations"]


@pytest.fixture
def migrating(boot: Boot) -> Boot:
    """Return a boot that keeps migrating."""
    boot.stub("alembic", "exec sleep 1000")
    return boot.start().until("Alembic attempt")


@pytest.fixture
def waiting(lone_boot: Boot) -> Boot:
    """Return a boot that keeps waiting for Postgres."""
    return lone_boot.start(DB_WAIT_TIMEOUT="600").wait_until_listening()


def test_responder_health_while_migrating(migrating: Boot) -> None:
    status, headers, text = migrating.ask("/health")
    health = json.loads(text)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert list(health) == [*KEYS, "attempt", "attempts"]
    assert (health["ok"], health["db"], health["redis"]) == (True, True, True)
    assert health["queue_depth"] == 0
    assert (health["phase"], health["migrations"]) == ("migrating", "unknown")
    time_of_response = datetime.fromisoformat(health["time"])
    assert time_of_response.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time_of_response) < timedelta(minutes=1)


def test_responder_is_not_ready(migrating: Boot) -> None:
    status, headers, text = migrating.ask("/ready")
    assert (status, headers["retry-after"]) == (503, "2")
    assert list(json.loads(text))[:8] == KEYS


def test_responder_health_without_servers(waiting: Boot) -> None:
    status, headers, text = waiting.ask("/health")
    health = json.loads(text)
    assert (status, headers["retry-after"]) == (503, "2")
    assert list(health)[:8] == KEYS
    assert (health["ok"], health["db"], health["redis"]) == (False, False, False)
    assert health["queue_depth"] is None
    assert (health["phase"], health["migrations"]) == ("waiting", "unknown")


def test_responder_health_counts_attempts(waiting: Boot) -> None:
    servers.wait_until("the first attempt", lambda: waiting.health().get("attempt"))
    assert waiting.health()["attempts"] == 600
    assert "attempt" not in json.loads(waiting.ask("/migrations")[2])


def test_responder_overview_while_migrating(migrating: Boot, redis_server: servers.Redis) -> None:
    with redis_server.client() as client:
        client.set("deal-scout:heartbeat:beat", 1, px=86_400_000 - 7_000)
        try:
            servers.wait_until(
                "beat has a heartbeat", lambda: overview(migrating)[2]["heartbeats"]["beat"]
            )
            status, headers, body = overview(migrating)
        finally:
            client.delete("deal-scout:heartbeat:beat")
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert list(body)[:8] == KEYS
    assert 7 <= body["heartbeats"].pop("beat") < 30
    assert body["heartbeats"] == {"worker": None}
    database, migrations = body["phases"]
    assert (database["name"], database["attempts"], database["outcome"]) == (
        *("database", 1),
        "answered",
    )
    assert (migrations["name"], migrations["attempts"], migrations["outcome"]) == (
        *("migrations", 1),
        None,
    )
    starts = [datetime.fromisoformat(phase["began"]) for phase in body["phases"]]
    assert timedelta(0) < starts[1] - starts[0] < timedelta(seconds=20)
    time.sleep(0.02)
    assert overview(migrating)[2]["phases"][1]["seconds"] > migrations["seconds"]


def test_responder_overview_without_servers(waiting: Boot) -> None:
    status, headers, body = overview(waiting)
    assert (status, headers["retry-after"]) == (503, "2")
    assert body["heartbeats"] is None
    assert [phase["name"] for phase in body["phases"]] == ["database"]


def overview(boot: Boot) -> tuple[int, dict[str, str], dict[str, Any]]:
    status, headers, text = boot.ask("/overview")
    return status, headers, json.loads(text)


def test_responder_live_needs_no_servers(waiting: Boot) -> None:
    status, headers, text = waiting.ask("/live")
    assert (status, headers["cache-control"], json.loads(text)) == (200, "no-store", {"ok": True})


def test_responder_queue_depth_counts_all_unfinished_tasks(
    migrating: Boot, redis_server: servers.Redis
) -> None:
    with redis_server.client() as client:
        try:
            client.lpush("celery", "queued")
            client.lpush("taken", "in delivery to a worker")
            client.hset("unacked", "tag", "received by a worker")
            servers.wait_until("3 tasks", lambda: migrating.health()["queue_depth"] == 3, 5)
        finally:
            client.delete("celery", "taken", "unacked")


def test_responder_metrics_while_migrating(migrating: Boot) -> None:
    status, headers, text = migrating.ask("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'deal_scout_up{dependency="db"} 1\n' in text
    assert "deal_scout_queue_depth 0\n" in text


def test_responder_metrics_without_servers(waiting: Boot) -> None:
    text = waiting.ask("/metrics")[2]
    assert 'deal_scout_up{dependency="redis"} 0\n' in text
    assert "deal_scout_queue_depth NaN\n" in text


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/api/deals?page=2"), ("POST", "/health"), ("GET", "/migrations")],
)
def test_responder_answers_other_requests_with_retry_after(
    waiting: Boot, method: str, path: str
) -> None:
    status, headers, text = waiting.ask(path, method)
    assert (status, headers["retry-after"]) == (503, "2")
    assert headers["content-type"] == "application/json"
    json.loads(text)


def test_responder_answers_a_large_request(waiting: Boot) -> None:
    assert waiting.ask("/api/deals", "POST", "x" * 5_000_000)[0] == 503


@pytest.mark.parametrize("path", ["/health", "/live", "/ready", "/metrics", "/else"])
def test_responder_answers_head_without_a_body(waiting: Boot, path: str) -> None:
    status, headers, text = waiting.ask(path)
    head_status, head_headers, head_text = waiting.ask(path, "HEAD")
    assert (head_status, head_text) == (status, "")
    assert head_headers["content-length"] == headers["content-length"] == str(len(text))


def test_responder_serves_others_despite_idle_and_invalid_clients(waiting: Boot) -> None:
    def client(number: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", waiting.port), 5)
        sock.sendall((b"", b"GET /he", b"\x16\x03\x01\xff\r\n\r\n", b"x" * 50_000)[number % 4])
        return sock

    clients = [client(number) for number in range(400)]
    assert waiting.ask("/live")[0] == 200
    slow = clients[1]
    slow.settimeout(10)
    assert slow.recv(1) == b""  # closed after some seconds without a request
    for idle_client in clients:
        idle_client.close()
    assert waiting.ask("/live")[0] == 200
    assert waiting.err == ""


def test_responder_shares_checks_between_requests(
    migrating: Boot, postgres: servers.Postgres
) -> None:
    def connections() -> int:
        with postgres.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT sessions FROM pg_stat_database WHERE datname = %s", [name])
            return cursor.fetchone()[0]

    name = migrating.environ["POSTGRES_DB"]
    migrating.health()
    with ThreadPoolExecutor(20) as pool:
        started_at = time.monotonic()
        statuses = list(pool.map(lambda _: migrating.ask("/health")[0], range(400)))
        seconds = time.monotonic() - started_at
    assert set(statuses) == {200}
    servers.wait_until("statistics", lambda: connections() > 0)
    assert connections() <= seconds + 4  # one per second, plus those of the entrypoint


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run a Postgres and a Redis that accept connections and never answer."""
    folder = tmp_path_factory.mktemp("frozen")
    postgres = servers.make_postgres(folder / "postgres")
    redis = servers.make_redis(folder / "redis")
    with servers.running(postgres), servers.running(redis):
        postgres.freeze()
        redis.freeze()
        yield {**postgres.environment("postgres"), **redis.environment()}


def test_responder_answers_in_time_with_frozen_servers(
    lone_boot: Boot, frozen: dict[str, str]
) -> None:
    lone_boot.start(**frozen, DB_WAIT_TIMEOUT="600").wait_until_listening()

    def measure(_: int) -> float:
        started_at = time.monotonic()
        status, _, text = lone_boot.ask("/health")
        assert status == 503
        assert json.loads(text)["queue_depth"] is None
        return time.monotonic() - started_at

    with ThreadPoolExecutor(10) as pool:
        durations = list(pool.map(measure, range(60)))
    assert max(durations) <= 2
    assert statistics.median(durations) <= 1.5
    threads = max(process.num_threads() for process in lone_boot.family())
    assert threads <= 8  # checks do not accumulate


def test_responder_exits_when_the_entrypoint_is_killed(waiting: Boot) -> None:
    waiting.process.kill()
    waiting.process.wait()
    servers.wait_until("no orphan is running", lambda: not waiting.family(), 3)
    assert not servers.is_listening(waiting.port)
