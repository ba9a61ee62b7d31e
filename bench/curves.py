"""How cost grows: one job, measured at several sizes."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from bench import projects
from bench.fixtures import Fixtures, time_command, time_inv, time_shell
from bench.measure import Action
from bench.rows import logs
from harness import dockerized, servers
from harness.stacks import copy_checkout
from invoke_stack.judge.start import STABLE_FOR

Prepared = AbstractContextManager[Mapping[str, Action]]
"""A context whose value is what to measure at one size, by the name of its line."""


@dataclass(frozen=True)
class Curve:
    """One panel of the chart, with a line for each way to do the job."""

    name: str
    title: str
    x_label: str  # what grows
    unit: str
    sizes: tuple[int, ...]
    prepare: Callable[[Fixtures, int], Prepared]
    logarithmic: bool = False
    repeats: int = 3  # a point is the median of this many runs

    def measure(self, fixtures: Fixtures) -> dict[str, Any]:
        """Return the points by line for the JSON file, or the reason under `failed`."""
        lines: dict[str, list[list[float]]] = {}
        try:
            for size in self.sizes:
                with self.prepare(fixtures, size) as actions:
                    for line, action in actions.items():
                        median = statistics.median(action() for _ in range(self.repeats))
                        lines.setdefault(line, []).append([size, round(median, 4)])
        except (Exception, pytest.skip.Exception) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            return {"failed": reason[:300]}
        return {"lines": lines}


@contextlib.contextmanager
def restart(fixtures: Fixtures, count: int) -> Iterator[Mapping[str, Action]]:
    """Restart a service with `count` replicas."""
    with projects.replicas(fixtures.folder / f"replicas{count}", count) as stack:
        yield {
            "inv restart": lambda: time_inv(stack, "restart", "idle") - STABLE_FOR,
            "docker compose restart": lambda: time_shell("docker compose restart idle", stack),
        }


@contextlib.contextmanager
def status(fixtures: Fixtures, count: int) -> Iterator[Mapping[str, Action]]:
    """Show the status of a service with `count` replicas."""
    with projects.replicas(fixtures.folder / f"replicas{count}", count) as stack:
        yield {
            "inv status": lambda: time_inv(stack, "status"),
            "docker compose ps": lambda: time_shell("docker compose ps", stack),
        }


@contextlib.contextmanager
def log_time(fixtures: Fixtures, lines: int) -> Iterator[Mapping[str, Action]]:
    """Time reading the last `lines` lines of a log."""
    stack = fixtures.long_log
    (identity,) = stack.containers("s00")
    tail = str(lines)
    yield {
        "inv logs": lambda: time_inv(stack, "logs", "s00", "--tail", tail),
        "docker logs": lambda: time_command(["docker", "logs", "--tail", tail, identity], stack),
    }


@contextlib.contextmanager
def log_memory(fixtures: Fixtures, lines: int) -> Iterator[Mapping[str, Action]]:
    """Measure the memory of reading the last `lines` lines of a log."""
    yield {"inv logs": lambda: logs.peak(fixtures, fixtures.long_log, lines)}


REVISION = """
revision = {revision!r}
down_revision = {previous!r}


def upgrade() -> None:
    pass
"""


class RevisionApp:
    """An application with `count` revisions in alembic/versions, all of them applied."""

    def __init__(self, fixtures: Fixtures, count: int) -> None:
        postgres, redis = fixtures.servers
        self.root = copy_checkout(fixtures.folder / f"revisions{count}-{time.monotonic_ns()}")
        self.port = servers.free_port()
        versions = self.root / "alembic" / "versions"
        for file in versions.glob("*.py"):
            file.unlink()
        previous = None
        for number in range(count):
            revision = f"{number:04}"
            text = REVISION.format(revision=revision, previous=previous)
            (versions / f"{revision}.py").write_text(text, "utf-8")
            previous = revision
        with contextlib.closing(postgres.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32))")
            cursor.execute("DELETE FROM alembic_version")
            cursor.execute("INSERT INTO alembic_version VALUES (%s)", [previous])
        self.environment = servers.clean_environment(
            **postgres.environment("postgres"),
            **redis.environment(),
            PYTHONPATH=str(self.root / "backend"),
            RUN_DIR=str(self.root),
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Restart the application; return the seconds until /ready first returns 200."""
        self.stop()
        begin = time.perf_counter()
        arguments = ["-m", "uvicorn", "app.main:app", "--port", str(self.port), "--no-access-log"]
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{self.port}/ready"
        servers.wait_until("the application is ready", lambda: dockerized.has_status(url, 200), 60)
        return time.perf_counter() - begin

    def ready_milliseconds(self) -> float:
        """Return how many milliseconds an uncached /ready takes."""
        time.sleep(1.1)  # its results are cached for a second
        begin = time.perf_counter()
        assert dockerized.has_status(f"http://127.0.0.1:{self.port}/ready", 200)
        return (time.perf_counter() - begin) * 1000

    def stop(self) -> None:
        """Stop the application if it is running."""
        if self.process:
            self.process.terminate()
            self.process.wait(20)


@contextlib.contextmanager
def ready(fixtures: Fixtures, count: int) -> Iterator[Mapping[str, Action]]:
    """Query /ready of an application with `count` revisions."""
    application = RevisionApp(fixtures, count)
    application.start()
    try:
        yield {"/ready": application.ready_milliseconds}
    finally:
        application.stop()


@contextlib.contextmanager
def start(fixtures: Fixtures, count: int) -> Iterator[Mapping[str, Action]]:
    """Start an application with `count` revisions."""
    application = RevisionApp(fixtures, count)
    application.start()  # compiles the revisions
    try:
        yield {"uvicorn to /ready": application.start}
    finally:
        application.stop()


_REPLICAS, _LINES, _REVISIONS = (1, 5, 20), (10_000, 100_000, 1_000_000, 10_000_000), (1, 100, 500)
CURVES = (
    Curve("restart-by-replicas", "Restart", "replicas", "s", _REPLICAS, restart),
    Curve("status-by-replicas", "Status", "replicas", "s", _REPLICAS, status),
    Curve("logs-by-lines", "Logs, time", "lines", "s", _LINES, log_time, True, 1),
    Curve("memory-by-lines", "Logs, memory", "lines", "MiB", _LINES, log_memory, True, 1),
    Curve("ready-by-revisions", "/ready, not cached", "revisions", "ms", _REVISIONS, ready),
    Curve("start-by-revisions", "Application start", "revisions", "s", _REVISIONS, start),
)
