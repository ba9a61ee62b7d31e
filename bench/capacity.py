"""Measure the figures that docs/scaling.md calculates with, on the local runtime's stack:

    inv up --runtime local
    sh .local/run/backend.sh run python bench/capacity.py

It adds scouting tasks and restarts the backend. CPU is what the processes used, not the time that
passed, so other work on the machine changes little.
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

import httpx
import psutil
from app import database
from app.health import schema
from app.settings import load
from app.worker import broker

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".local" / "logs"
STAMP = len("2026-11-25T01:13:34.942821358Z stderr ")  # what the local runtime puts before a line
SETTINGS = load()
API = f"http://{SETTINGS.host}:{SETTINGS.port}"


def main() -> None:
    for measure in (memory, connections_at_rest, checks, requests, tasks, boot, heartbeat):
        for name, figure in measure():
            print(f"{name:<66}{figure}", flush=True)


def memory() -> Iterator[tuple[str, str]]:
    for name in ("backend", "worker", "beat"):
        yield f"memory of {name}, PSS", mebibytes(sum(pss(each) for each in family(name)))
    held = [open_session() for _ in range(10)]
    each = sum(psutil.Process(s.info.backend_pid).memory_full_info().uss for s in held) / len(held)
    yield "memory of one Postgres session after one query, private", mebibytes(each)
    for session in held:
        session.close()


def connections_at_rest() -> Iterator[tuple[str, str]]:
    for name in ("backend", "worker", "beat"):
        yield f"connections of {name} at rest: Postgres, Redis", pair(connections(family(name)))


def checks() -> Iterator[tuple[str, str]]:
    count = 5000
    session = open_session()
    with session.cursor() as cursor:

        def check() -> None:
            cursor.execute("SELECT 1")
            schema.read_current(session)

        server = psutil.Process(session.info.backend_pid)
        with used(lambda: [server]) as postgres, used(lambda: [psutil.Process()]) as ours:
            repeat(count, check)
    yield "CPU of one health check: Postgres", micros(postgres() / count)
    yield "CPU of one health check: the backend's own part for it", micros(ours() / count)
    client = broker.client(SETTINGS, 1)
    with used(lambda: family("redis")) as redis:
        repeat(count, lambda: broker.depth(client))
    yield "CPU of one health check: Redis", micros(redis() / count)


def requests() -> Iterator[tuple[str, str]]:
    """The list of deals, 50 of them at most, from 40 clients at once."""
    count = 4000
    processes = family("backend")
    with contextlib.closing(open_session()) as session, session.cursor() as cursor:
        cursor.execute("DELETE FROM deals WHERE source = 'capacity'")
        for more in (0, 10_000):
            cursor.execute(
                "INSERT INTO deals (title, url, price, currency, source, found_at)"
                " SELECT 'deal ' || n, 'https://example.com/' || n, n, 'EUR', 'capacity', now()"
                " FROM generate_series(1, %s) n",
                [more],
            )
            cursor.execute("ANALYZE deals")
            cursor.execute("SELECT count(*) FROM deals")
            (deals,) = cursor.fetchone()
            size = (LOGS / "backend.log").stat().st_size
            with (
                peak(processes) as most,
                clients(40) as (pool, client),
                used(lambda: processes) as backend,
                used(lambda: family("postgres")) as postgres,
            ):
                answers = list(pool.map(lambda _: client.get("/deals").status_code, range(count)))
            assert set(answers) == {200}, Counter(answers)
            yield f"CPU of one GET /deals of {deals}: backend", micros(backend() / count)
            yield f"CPU of one GET /deals of {deals}: Postgres", micros(postgres() / count)
        cursor.execute("DELETE FROM deals WHERE source = 'capacity'")
    grown = (LOGS / "backend.log").stat().st_size - size
    yield "most connections of backend under 40 clients: Postgres, Redis", pair(most())
    yield "the same once they are gone", pair(connections(processes))
    yield "log of one request", f"{grown / count - STAMP:.0f} bytes"


def tasks() -> Iterator[tuple[str, str]]:
    count = 200
    processes, workers = family("backend"), family("worker")
    log = (LOGS / "worker.log").read_bytes()
    redis = broker.client(SETTINGS, 1)
    with (
        peak(processes) as most,
        peak(workers) as at_work,
        clients(40) as (pool, client),
        used(lambda: workers) as worker,
        used(lambda: family("redis")) as queue,
    ):
        answers = list(pool.map(lambda _: client.post("/scouts").status_code, range(count)))
        waiting = redis.llen("celery")
        memory = redis.memory_usage("celery", samples=0) or 0
        while broker.depth(redis):
            time.sleep(0.1)
    assert set(answers) == {202}, Counter(answers)
    lines = (LOGS / "worker.log").read_bytes()[len(log) :].splitlines(keepends=True)
    yield "most connections of backend, 40 clients sending tasks", pair(most())
    yield "most connections of worker (concurrency 2) at work", pair(at_work())
    yield "CPU of one task, sample feed: worker", micros(worker() / count)
    yield "CPU of one task: Redis", micros(queue() / count)
    yield f"memory of one task in Redis, of {waiting} that wait", f"{memory / waiting:.0f} bytes"
    yield "log of one task: worker", f"{sum(len(line) - STAMP for line in lines) / count:.0f} bytes"


def boot() -> Iterator[tuple[str, str]]:
    """A restart with a current schema: who connects, and how long the migrations' lock is held."""
    seen: dict[str, int] = {}
    held: list[float] = []
    over = threading.Event()

    def watch() -> None:
        with contextlib.closing(open_session()) as session, session.cursor() as cursor:
            while not over.is_set():
                now = time.monotonic()
                cursor.execute(
                    "SELECT a.application_name, count(*), bool_or(l.pid IS NOT NULL)"
                    " FROM pg_stat_activity a LEFT JOIN pg_locks l"
                    " ON l.pid = a.pid AND l.locktype = 'advisory' AND l.granted"
                    " WHERE a.client_addr IS NOT NULL AND a.pid <> pg_backend_pid() GROUP BY 1"
                )
                for name, count, locked in cursor.fetchall():
                    seen[name] = max(seen.get(name, 0), count)
                    if locked:
                        held.append(now)
                time.sleep(0.002)

    log = LOGS / "backend.log"
    before = log.read_bytes()
    watcher = threading.Thread(target=watch)
    watcher.start()
    said = subprocess.run(
        [sys.executable, "-m", "invoke", "restart-backend", "--no-logs", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    over.set()
    watcher.join()
    phases = {each["name"]: each["seconds"] for each in json.loads(said.stdout)["phases"]}
    lines = log.read_bytes()[len(before) :].splitlines(keepends=True)
    yield "restart with a current schema, seconds for each phase", str(phases)
    yield "sessions at most, while it restarts", str(seen)
    yield "the migrations' lock is held", f"{(held[-1] - held[0]) * 1000:.0f} ms"
    yield (
        "log of one restart",
        f"{sum(len(line) - STAMP for line in lines)} bytes in {len(lines)} lines",
    )


def heartbeat() -> Iterator[tuple[str, str]]:
    count = 20
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(count):
        subprocess.run([sys.executable, "-m", "app.heartbeat", "worker"], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield "CPU of one heartbeat probe", micros(cpu / count)


# Looking at processes

COMMANDS = {
    "backend": "app.main:app",
    "worker": "app.worker worker",
    "beat": "app.worker beat",
    "redis": "valkey-server",
    "postgres": f"postgres -D {ROOT}/.local/postgres",
}


def family(name: str) -> list[psutil.Process]:
    """The processes of a service of this checkout's stack, those they have forked among them."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        at_home = (process.info["cwd"] or "").startswith(str(ROOT))
        if at_home and COMMANDS[name] in " ".join(process.info["cmdline"] or ()):
            found += [process, *process.children(recursive=True)]
    assert found, f"{name} does not run: inv up --runtime local"
    return list(dict.fromkeys(found))


def pss(process: psutil.Process) -> float:
    return process.memory_full_info().pss


def connections(processes: list[psutil.Process]) -> tuple[int, int]:
    """How many connections they have to Postgres and to Redis; a fork shares those it inherits."""
    sockets = {
        (connection.laddr.port, connection.raddr.port)
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr
    }
    ports = Counter(remote for _, remote in sockets)
    return ports[SETTINGS.db_port], ports[SETTINGS.redis_port]


@contextlib.contextmanager
def used(find: Callable[[], list[psutil.Process]]) -> Iterator[Callable[[], float]]:
    """CPU seconds within the block, of processes that come and go too."""

    def total() -> float:
        return sum(sum(process.cpu_times()[:4]) for process in find())

    before = total()
    result = [0.0]
    yield lambda: result[0]
    result[0] = total() - before


@contextlib.contextmanager
def peak(processes: list[psutil.Process]) -> Iterator[Callable[[], tuple[int, int]]]:
    """The most connections to Postgres and to Redis that were seen within the block."""
    most = [0, 0]
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            most[:] = map(max, most, connections(processes))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: (most[0], most[1])
    finally:
        over.set()
        watcher.join()


@contextlib.contextmanager
def clients(number: int) -> Iterator[tuple[ThreadPoolExecutor, httpx.Client]]:
    limits = httpx.Limits(max_connections=number, max_keepalive_connections=number)
    with httpx.Client(base_url=API, limits=limits, timeout=30) as client:
        with ThreadPoolExecutor(number) as pool:
            yield pool, client


def open_session():  # type: ignore[no-untyped-def]
    session = database.connect(SETTINGS, "capacity", 5)
    session.autocommit = True
    schema.read_current(session)
    return session


def repeat(count: int, action: Callable[[], object]) -> None:
    for _ in range(count):
        action()


def micros(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs"


def mebibytes(number: float) -> str:
    return f"{number / 2**20:.1f} MiB"


def pair(counts: tuple[int, int]) -> str:
    return "{}, {}".format(*counts)


if __name__ == "__main__":
    main()
