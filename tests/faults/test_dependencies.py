"""Postgres and Redis hang or are unreachable, or the backend is overloaded, while it serves."""

import http.client
import subprocess
import threading
import time

import pytest

from harness.servers import wait_until
from tests.faults.inject import Prober, frozen, locked

MAX_SECONDS = 2.0  # for any response at any time


@pytest.fixture
def backend(stack):
    prober = Prober(stack)
    wait_until("it is ready", lambda: prober.has_status(200, "/ready"), 60)
    yield prober
    wait_until("it is ready again", lambda: prober.has_status(200, "/ready"), 60)


def test_f01_health_responds_while_postgres_is_frozen(stack, backend, measured):
    slowest = 0.0
    with frozen(stack, "postgres"):
        wait_until("/health returns 503", lambda: backend.has_status(503), 3)
        for _ in range(100):
            health, live = backend.get(), backend.get("/live")
            assert (health.status, live.status) == (503, 200)
            assert (health.body["db"], health.body["redis"]) == (False, True)
            slowest = max(slowest, health.seconds, live.seconds)
    assert slowest <= MAX_SECONDS
    recovery = wait_until("it is healthy again", lambda: backend.has_status(200), 10)
    measured(f"100 of 100 probes within {slowest:.2f} s, 200 after {recovery:.1f} s")


def test_f03_health_responds_while_redis_is_frozen(stack, backend, measured):
    slowest = 0.0
    with frozen(stack, "redis"):
        wait_until("/health returns 503", lambda: backend.has_status(503), 3)
        for _ in range(10):
            health = backend.get()
            parts = {key: health.body[key] for key in ("db", "redis", "queue_depth")}
            assert parts == {"db": True, "redis": False, "queue_depth": None}
            slowest = max(slowest, health.seconds)
    assert slowest <= MAX_SECONDS
    recovery = wait_until("it is healthy again", lambda: backend.has_status(200), 10)
    measured(f"503 within {slowest:.2f} s, 200 after {recovery:.1f} s")


# Not on local: it uses the loopback of this machine, where others would lose packets, too.
@pytest.mark.parametrize("stack", ["compose"], indirect=True)
def test_f04_health_and_boot_are_bounded_while_packets_are_dropped(stack, backend, measured):
    pid = stack.inspect("postgres")["State"]["Pid"]
    rule = ["INPUT", "-p", "tcp", "--dport", "5432", "-j", "DROP"]

    def iptables(option):
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", "iptables", option, *rule]
        subprocess.run(command, check=True)

    iptables("--insert")
    try:
        wait_until("/health returns 503", lambda: backend.has_status(503), 5)
        slowest = max(backend.get().seconds for _ in range(10))
        assert slowest <= MAX_SECONDS
        verdict = stack.json("restart-backend", "--timeout", "70")
        waited = next(p["seconds"] for p in verdict["phases"] if p["name"] == "database")
        assert 59 < waited < 63
    finally:
        iptables("--delete")
    stack.inv("restart-backend", "--no-logs")  # for tests that read the log of the last boot
    measured(f"503 within {slowest:.1f} s; the boot waited {waited:.0f} s")


def test_f05_f07_health_responds_while_tables_are_locked(stack, backend, measured):
    """Simulates a migration that holds ACCESS EXCLUSIVE for 20 s under a running application."""
    statuses = []
    slowest = 0.0
    with locked(stack, "deals", "alembic_version"):
        blocked = [
            threading.Thread(target=lambda: statuses.append(backend.get("/deals").status))
            for _ in range(45)
        ]
        for thread in blocked:
            thread.start()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline or any(thread.is_alive() for thread in blocked):
            health = backend.get()
            assert (health.status, health.body["migrations"]) == (200, "current")
            slowest = max(slowest, health.seconds)
            time.sleep(0.1)
    assert statuses == [503] * 45
    assert slowest <= 1.0
    measured(f"`/health` 200 within {slowest:.2f} s, 45 requests waiting behind the lock")


def test_f06_health_handles_a_thousand_requests_a_second(stack, backend, measured):
    """Paced over 16 persistent connections; a slow machine sends fewer."""
    seconds, connections, rate = 30, 16, 1000
    counts, errors = [], []
    before = transactions(stack)
    started_at = time.monotonic()

    def send_requests():
        connection = http.client.HTTPConnection(backend.address, timeout=30)
        count = 0
        while (now := time.monotonic() - started_at) < seconds:
            try:
                connection.request("GET", "/health")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    errors.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                errors.append(error)
                connection.close()
            count += 1
            time.sleep(max(0.0, count * connections / rate - now))
        counts.append(count)

    threads = [threading.Thread(target=send_requests) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    checks = transactions(stack) - before
    assert not errors
    # `SELECT 1` and the revision, each at most once a second; the rest is PostgreSQL's own.
    assert checks <= 4 * seconds
    measured(f"{sum(counts) / seconds:.0f} a second for {seconds} s, no error, {checks} queries")


def transactions(stack):
    query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'deal_scout'"
    script = 'PGUSER="${PGUSER:-$POSTGRES_USER}" exec psql -At --dbname=postgres --command="$0"'
    return int(stack.run("postgres", "sh", "-c", script, query))
