"""Measure the figures that docs/scaling.md uses, on the stack of the local runtime.

    inv up --runtime local
    sh .local/run/backend.sh run python bench/capacity.py

It adds scouting tasks and restarts the backend. CPU is the processor time of the processes, so
other load on the machine changes little.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
from app import database
from app.health import schema
from app.settings import load
from app.worker import broker

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".local" / "logs"
# The length of the prefix that the local runtime adds to a line.
STAMP = len("2026-11-25T01:13:34.942821358Z stderr ")
SETTINGS = load()
API = f"http://{SETTINGS.host}:{SETTINGS.port}"


def main() -> None:
    """Print every figure."""
    for measure in (memory, connections_at_rest, checks, requests, tasks, boot, heartbeat):
        for name, figure in measure():
            print(f"{name:<66}{figure}", flush=True)


def memory() -> Iterator[tuple[str, str]]:
    """Measure the memory of each service and of a Postgres session."""
    for name in ("backend", "worker", "beat"):
        yield f"memory of {name}, PSS", mebibytes(sum(pss(process) for process in family(name)))
    sessions = [open_session() for _ in range(10)]
    servers = [psutil.Process(session.info.backend_pid) for session in sessions]
    private = sum(server.memory_full_info().uss for server in servers) / len(servers)
    yield "memory of one Postgres session after one query, private", mebibytes(private)
    for session in sessions:
        session.close()


def connections_at_rest() -> Iterator[tuple[str, str]]:
    """Count the connections of each idle service."""
    for name in ("backend", "worker", "beat"):
        yield f"connections of {name} at rest: Postgres, Redis", pair(connections(family(name)))


def checks() -> Iterator[tuple[str, str]]:
    """Measure the CPU of a health check."""
    count = 5000
    session = open_session()
    with session.cursor() as cursor:

        def check() -> None:
            cursor.execute("SELECT 1")
            schema.read_current(session)

        server = psutil.Process(session.info.backend_pid)
        with (
            cpu_seconds(lambda: [server]) as postgres,
            cpu_seconds(lambda: [psutil.Process()]) as own,
        ):
            repeat(count, check)
    yield "CPU of one health check: Postgres", micros(postgres() / count)
    yield "CPU of one health check: the backend's own part for it", micros(own() / count)
    client = broker.client(SETTINGS, 1)
    with cpu_seconds(lambda: family("redis")) as redis:
        repeat(count, lambda: broker.depth(client))
    yield "CPU of one health check: Redis", micros(redis() / count)


def requests() -> Iterator[tuple[str, str]]:
    """Measure requests for the list of deals (at most 50) from 40 clients at once."""
    count = 4000
    processes = family("backend")
    with contextlib.closing(open_session()) as session, session.cursor() as cursor:
        cursor.execute("DELETE FROM deals WHERE source = 'capacity'")
        for new_deals in (0, 10_000):
            cursor.execute(
                "INSERT INTO deals (title, url, price, currency, source, found_at)"
                " SELECT 'deal ' || n, 'https://example.com/' || n, n, 'EUR', 'capacity', now()"
                " FROM generate_series(1, %s) n",
                [new_deals],
            )
            cursor.execute("ANALYZE deals")
            cursor.execute("SELECT count(*) FROM deals")
            (deals,) = cursor.fetchone()
            size = (LOGS / "backend.log").stat().st_size
            with (
                peak_connections(processes) as most,
                clients(40) as (pool, client),
                cpu_seconds(lambda: processes) as backend,
                cpu_seconds(lambda: family("postgres")) as postgres,
            ):
                statuses = list(pool.map(lambda _: client.get("/deals").status_code, range(count)))
            assert set(statuses) == {200}, Counter(statuses)
            yield f"CPU of one GET /deals of {deals}: backend", micros(backend() / count)
            yield f"CPU of one GET /deals of {deals}: Postgres", micros(postgres() / count)
        cursor.execute("DELETE FROM deals WHERE source = 'capacity'")
    log_growth = (LOGS / "backend.log").stat().st_size - size
    yield "most connections of backend under 40 clients: Postgres, Redis", pair(most())
    yield "the same after they have disconnected", pair(connections(processes))
    yield "log of one request", f"{log_growth / count - STAMP:.0f} bytes"


def tasks() -> Iterator[tuple[str, str]]:
    """Measure scouting tasks that 40 clients send at once."""
    count = 200
    processes, workers = family("backend"), family("worker")
    log = (LOGS / "worker.log").read_bytes()
    redis = broker.client(SETTINGS, 1)
    with (
        peak_connections(processes) as most,
        peak_connections(workers) as most_of_workers,
        clients(40) as (pool, client),
        cpu_seconds(lambda: workers) as worker,
        cpu_seconds(lambda: family("redis")) as queue,
    ):
        statuses = list(pool.map(lambda _: client.post("/scouts").status_code, range(count)))
        waiting = redis.llen("celery")
        memory = redis.memory_usage("celery", samples=0) or 0
        while broker.depth(redis):
            time.sleep(0.1)
    assert set(statuses) == {202}, Counter(statuses)
    lines = (LOGS / "worker.log").read_bytes()[len(log) :].splitlines(keepends=True)
    yield "most connections of backend, 40 clients sending tasks", pair(most())
    yield "most connections of worker (concurrency 2) at work", pair(most_of_workers())
    yield "CPU of one task, sample feed: worker", micros(worker() / count)
    yield "CPU of one task: Redis", micros(queue() / count)
    yield f"memory of one task in Redis, of {waiting} that wait", f"{memory / waiting:.0f} bytes"
    yield "log of one task: worker", f"{sum(len(line) - STAMP for line in lines) / count:.0f} bytes"


def boot() -> Iterator[tuple[str, str]]:
    """Measure a restart with a current schema: its sessions, and how long it holds the lock."""
    sessions: dict[str, int] = {}  # the most at once, by application name
    locked_at: list[float] = []
    done = threading.Event()

    def watch() -> None:
        with contextlib.closing(open_session()) as session, session.cursor() as cursor:
            while not done.is_set():
                now = time.monotonic()
                cursor.execute(
                    "SELECT a.application_name, count(*), bool_or(l.pid IS NOT NULL)"
                    " FROM pg_stat_activity a LEFT JOIN pg_locks l"
                    " ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted"
                    " WHERE a.client_addr IS NOT NULL AND a.pid <> pg_backend_pid() GROUP BY 1"
                )
                for name, count, locked in cursor.fetchall():
                    sessions[name] = max(sessions.get(name, 0), count)
                    if locked:
                        locked_at.append(now)
                time.sleep(0.002)

    log = LOGS / "backend.log"
    before = log.read_bytes()
    watcher = threading.Thread(target=watch)
    watcher.start()
    result = subprocess.run(
        [sys.executable, "-m", "invoke", "restart-backend", "--no-logs", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    done.set()
    watcher.join()
    verdict = json.loads(result.stdout)
    phases = {phase["name"]: phase["seconds"] for phase in verdict["phases"]}
    lines = log.read_bytes()[len(before) :].splitlines(keepends=True)
    yield "restart with a current schema, seconds for each phase", str(phases)
    yield "most sessions during the restart", str(sessions)
    yield (
        "time that the migrations' lock is held",
        f"{(locked_at[-1] - locked_at[0]) * 1000:.0f} ms",
    )
    yield (
        "log of one restart",
        f"{sum(len(line) - STAMP for line in lines)} bytes in {len(lines)} lines",
    )


def heartbeat() -> Iterator[tuple[str, str]]:
    """Measure the CPU of a heartbeat probe."""
    count = 20
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(count):
        subprocess.run([sys.executable, "-m", "app.heartbeat", "worker"], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield "CPU of one heartbeat probe", micros(cpu / count)


# Processes

COMMANDS = {
    "backend": "app.main:app",
    "worker": "app.worker worker",
    "beat": "app.worker beat",
    "redis": "valkey-server",
    "postgres": f"postgres -D {ROOT}/.local/postgres",
}


def family(name: str) -> list[psutil.Process]:
    """Return the processes of a service of this checkout's stack, including child processes."""
    processes: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        is_ours = (process.info["cwd"] or "").startswith(str(ROOT))
        if is_ours and COMMANDS[name] in " ".join(process.info["cmdline"] or ()):
            processes += [process, *process.children(recursive=True)]
    assert processes, f"{name} is not running: inv up --runtime local"
    return list(dict.fromkeys(processes))


def pss(process: psutil.Process) -> float:
    """Return the proportional set size of a process in bytes."""
    return process.memory_full_info().pss


def connections(processes: list[psutil.Process]) -> tuple[int, int]:
    """Count the connections to Postgres and to Redis; those that a fork inherits count once."""
    sockets = {
        (connection.laddr.port, connection.raddr.port)
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr
    }
    ports = Counter(remote for _, remote in sockets)
    return ports[SETTINGS.db_port], ports[SETTINGS.redis_port]


@contextlib.contextmanager
def cpu_seconds(find: Callable[[], list[psutil.Process]]) -> Iterator[Callable[[], float]]:
    """Measure the CPU seconds that the processes of `find()` use within the block."""

    def total() -> float:
        return sum(sum(process.cpu_times()[:4]) for process in find())

    before = total()
    result = [0.0]
    yield lambda: result[0]
    result[0] = total() - before


@contextlib.contextmanager
def peak_connections(processes: list[psutil.Process]) -> Iterator[Callable[[], tuple[int, int]]]:
    """Measure the most connections to Postgres and to Redis within the block."""
    most = [0, 0]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            most[:] = map(max, most, connections(processes))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: (most[0], most[1])
    finally:
        done.set()
        watcher.join()


@contextlib.contextmanager
def clients(number: int) -> Iterator[tuple[ThreadPoolExecutor, httpx.Client]]:
    """Yield a pool of `number` threads, and a client with as many connections to the API."""
    limits = httpx.Limits(max_connections=number, max_keepalive_connections=number)
    with httpx.Client(base_url=API, limits=limits, timeout=30) as client:
        with ThreadPoolExecutor(number) as pool:
            yield pool, client


def open_session() -> Any:
    """Return a Postgres session that has run one query."""
    session = database.connect(SETTINGS, "capacity", 5)
    session.autocommit = True
    schema.read_current(session)
    return session


def repeat(count: int, action: Callable[[], object]) -> None:
    """Run an action `count` times."""
    for _ in range(count):
        action()


def micros(seconds: float) -> str:
    """Format seconds as microseconds."""
    return f"{seconds * 1e6:.0f} µs"


def mebibytes(number: float) -> str:
    """Format bytes as MiB."""
    return f"{number / 2**20:.1f} MiB"


def pair(counts: tuple[int, int]) -> str:
    """Format two counts."""
    return "{}, {}".format(*counts)


if __name__ == "__main__":
    main()
