"""How cost grows: one job at several sizes."""

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
from bench.measure import Action
from bench.place import Place, inv, seconds, shell
from bench.rows import logs
from harness import dockerized, servers
from harness.stacks import copy_checkout
from invoke_stack.judge.start import STABLE_FOR

Prepared = AbstractContextManager[Mapping[str, Action]]
"""What is measured at one size, by the name of its line."""


@dataclass(frozen=True)
class Curve:
    """A picture: one line for each of two or so ways to do the job."""

    name: str
    title: str
    across: str  # what grows
    unit: str
    sizes: tuple[int, ...]
    prepare: Callable[[Place, int], Prepared]
    logarithmic: bool = False
    times: int = 3  # a point is the median of so many

    def draw(self, place: Place) -> dict[str, Any]:
        """Its points by line, as they stand in the JSON; one that fails tells its reason instead."""
        lines: dict[str, list[list[float]]] = {}
        try:
            for size in self.sizes:
                with self.prepare(place, size) as actions:
                    for line, action in actions.items():
                        middle = statistics.median(action() for _ in range(self.times))
                        lines.setdefault(line, []).append([size, round(middle, 4)])
        except (Exception, pytest.skip.Exception) as problem:
            why = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            return {"failed": why[:300]}
        return {"lines": lines}


@contextlib.contextmanager
def restart(place: Place, count: int) -> Iterator[Mapping[str, Action]]:
    with projects.replicas(place.folder / f"replicas{count}", count) as stack:
        yield {
            "inv restart": lambda: inv(stack, "restart", "idle") - STABLE_FOR,
            "docker compose restart": lambda: shell("docker compose restart idle", stack),
        }


@contextlib.contextmanager
def status(place: Place, count: int) -> Iterator[Mapping[str, Action]]:
    with projects.replicas(place.folder / f"replicas{count}", count) as stack:
        yield {
            "inv status": lambda: inv(stack, "status"),
            "docker compose ps": lambda: shell("docker compose ps", stack),
        }


@contextlib.contextmanager
def log_time(place: Place, lines: int) -> Iterator[Mapping[str, Action]]:
    stack = place.long_log
    (identity,) = stack.containers("s00")
    tail = str(lines)
    yield {
        "inv logs": lambda: inv(stack, "logs", "s00", "--tail", tail),
        "docker logs": lambda: seconds(["docker", "logs", "--tail", tail, identity], stack),
    }


@contextlib.contextmanager
def log_memory(place: Place, lines: int) -> Iterator[Mapping[str, Action]]:
    yield {"inv logs": lambda: logs.peak(place, place.long_log, lines)}


REVISION = """
revision = {revision!r}
down_revision = {before!r}


def upgrade() -> None:
    pass
"""


class Revisions:
    """An application whose alembic/versions holds so many revisions, all applied."""

    def __init__(self, place: Place, count: int) -> None:
        postgres, redis = place.servers
        self.root = copy_checkout(place.folder / f"revisions{count}-{time.monotonic_ns()}")
        self.port = servers.free_port()
        versions = self.root / "alembic" / "versions"
        for file in versions.glob("*.py"):
            file.unlink()
        before = None
        for number in range(count):
            revision = f"{number:04}"
            text = REVISION.format(revision=revision, before=before)
            (versions / f"{revision}.py").write_text(text, "utf-8")
            before = revision
        with contextlib.closing(postgres.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32))")
            cursor.execute("DELETE FROM alembic_version")
            cursor.execute("INSERT INTO alembic_version VALUES (%s)", [before])
        self.environment = servers.clean_environment(
            **postgres.environment("postgres"),
            **redis.environment(),
            PYTHONPATH=str(self.root / "backend"),
            RUN_DIR=str(self.root),
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it anew; seconds to the first 200 of /ready."""
        self.stop()
        begin = time.perf_counter()
        words = ["-m", "uvicorn", "app.main:app", "--port", str(self.port), "--no-access-log"]
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{self.port}/ready"
        servers.wait_until("it is ready", lambda: dockerized.has_status(url, 200), 60)
        return time.perf_counter() - begin

    def ask(self) -> float:
        """Milliseconds of a /ready that looks everything up again."""
        time.sleep(1.1)  # what it knows is good for a second
        begin = time.perf_counter()
        assert dockerized.has_status(f"http://127.0.0.1:{self.port}/ready", 200)
        return (time.perf_counter() - begin) * 1000

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)


@contextlib.contextmanager
def ready(place: Place, count: int) -> Iterator[Mapping[str, Action]]:
    application = Revisions(place, count)
    application.start()
    try:
        yield {"/ready": application.ask}
    finally:
        application.stop()


@contextlib.contextmanager
def start(place: Place, count: int) -> Iterator[Mapping[str, Action]]:
    application = Revisions(place, count)
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
