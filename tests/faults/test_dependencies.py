"""Postgres and Redis hang, are cut off or overrun, while the backend serves."""

import http.client
import subprocess
import threading
import time

import pytest

from harness.servers import wait_until
from tests.faults.inject import Prober, frozen, locked

NOT_HANGING = 2.0  # seconds for any probe at any time


@pytest.fixture
def backend(stack):
    prober = Prober(stack)
    wait_until("it is ready", lambda: prober.says(200, "/ready"), 60)
    yield prober
    wait_until("it is ready again", lambda: prober.says(200, "/ready"), 60)


def test_f01_postgres_frozen(stack, backend, measured):
    slowest = 0.0
    with frozen(stack, "postgres"):
        wait_until("it is noticed", lambda: backend.says(503), 3)
        for _ in range(100):
            health, live = backend.ask(), backend.ask("/live")
            assert (health.status, live.status) == (503, 200)
            assert (health.body["db"], health.body["redis"]) == (False, True)
            slowest = max(slowest, health.seconds, live.seconds)
    assert slowest <= NOT_HANGING
    back = wait_until("it is healthy again", lambda: backend.says(200), 10)
    measured(f"100 of 100 probes within {slowest:.1f} s, 200 after {back:.1f} s")


def test_f03_redis_frozen(stack, backend, measured):
    slowest = 0.0
    with frozen(stack, "redis"):
        wait_until("it is noticed", lambda: backend.says(503), 3)
        for _ in range(10):
            health = backend.ask()
            parts = {key: health.body[key] for key in ("db", "redis", "queue_depth")}
            assert parts == {"db": True, "redis": False, "queue_depth": None}
            slowest = max(slowest, health.seconds)
    assert slowest <= NOT_HANGING
    back = wait_until("it is healthy again", lambda: backend.says(200), 10)
    measured(f"503 within {slowest:.1f} s, 200 after {back:.1f} s")


# Locally its packets are on this machine's own loopback: others would lose theirs.
@pytest.mark.parametrize("stack", ["compose"], indirect=True)
def test_f04_packets_to_postgres_dropped(stack, backend, measured):
    first = stack.inspect("postgres")["State"]["Pid"]
    rule = ["INPUT", "-p", "tcp", "--dport", "5432", "-j", "DROP"]

    def iptables(change):
        words = ["nsenter", f"--net=/proc/{first}/ns/net", "iptables", change, *rule]
        subprocess.run(words, check=True)

    iptables("--insert")
    try:
        wait_until("it is noticed", lambda: backend.says(503), 5)
        slowest = max(backend.ask().seconds for _ in range(10))
        assert slowest <= NOT_HANGING
        verdict = stack.json("restart-backend", "--timeout", "70")
        waited = next(p["seconds"] for p in verdict["phases"] if p["name"] == "database")
        assert 59 < waited < 63
    finally:
        iptables("--delete")
    stack.inv("restart-backend", "--no-logs")  # for the tests that read of the last boot
    measured(f"503 within {slowest:.1f} s; the boot waited {waited:.0f} s")


def test_f05_f07_blocked_requests_and_locked_tables(stack, backend, measured):
    """What a migration of 20 s under ACCESS EXCLUSIVE does to a running application."""
    answers = []
    slowest = 0.0
    with locked(stack, "deals", "alembic_version"):
        blocked = [
            threading.Thread(target=lambda: answers.append(backend.ask("/deals").status))
            for _ in range(45)
        ]
        for thread in blocked:
            thread.start()
        until = time.monotonic() + 20
        while time.monotonic() < until or any(thread.is_alive() for thread in blocked):
            health = backend.ask()
            assert (health.status, health.body["migrations"]) == (200, "current")
            slowest = max(slowest, health.seconds)
            time.sleep(0.1)
    assert answers == [503] * 45
    assert slowest <= 1.0
    measured(f"`/health` 200 within {slowest:.2f} s, 45 requests waiting behind the lock")


def test_f06_a_thousand_probes_a_second(stack, backend, measured):
    """Paced, over 16 connections that stay open; fewer where the machine cannot do as many."""
    seconds, connections, rate = 30, 16, 1000
    seen, wrong = [], []
    before = transactions(stack)
    begin = time.monotonic()

    def ask():
        connection = http.client.HTTPConnection(backend.address, timeout=30)
        count = 0
        while (now := time.monotonic() - begin) < seconds:
            try:
                connection.request("GET", "/health")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    wrong.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(error)
                connection.close()
            count += 1
            time.sleep(max(0.0, count * connections / rate - now))
        seen.append(count)

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    checks = transactions(stack) - before
    assert not wrong
    # `SELECT 1` and the revision, each once a second at most; the rest is the servers' own.
    assert checks <= 4 * seconds
    measured(f"{sum(seen) / seconds:.0f} a second for {seconds} s, no error, {checks} queries")


def transactions(stack):
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'deal_scout'"
    script = 'PGUSER="${PGUSER:-$POSTGRES_USER}" exec psql -At --dbname=postgres --command="$0"'
    return int(stack.run("postgres", "sh", "-c", script, query))
