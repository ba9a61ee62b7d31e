"""The backend's entrypoint: what it adds to a start, and how fast it notices the database."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.fixtures import Fixtures, docker
from bench.measure import Action, Goal, Row
from harness import dockerized, servers
from harness.stacks import ROOT

# The loop of the original entrypoint, reduced to how it waits.
POLLING = 'until nc -z "$DB_HOST" "$DB_PORT"; do sleep 1; done'


@contextlib.contextmanager
def container(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time a container from its start until /ready returns 200, with the database of a stack."""
    uvicorn = "exec uvicorn app.main:app --host 0.0.0.0 --port $PORT --no-server-header"
    with contextlib.ExitStack() as containers:
        ours = containers.enter_context(_created_container(fixtures))
        theirs = containers.enter_context(_created_container(fixtures, "sh", "-c", uvicorn))
        yield lambda: _start(*ours), lambda: _start(*theirs)


@contextlib.contextmanager
def _created_container(fixtures: Fixtures, *command: str) -> Iterator[tuple[str, str]]:
    """Create a container like the stack's backend; yield its id and the URL of its /ready."""
    backend = fixtures.compose.inspect("backend")
    port = servers.free_port()
    settings = [option for entry in backend["Config"]["Env"] for option in ("--env", entry)]
    networks = sorted(backend["NetworkSettings"]["Networks"])
    network = next(name for name in networks if name.endswith("_default"))
    identity = docker(
        *("create", "--init", "--read-only", "--tmpfs", "/tmp:mode=1777", "--network", network),
        *("--publish", f"127.0.0.1:{port}:{port}", *settings, "--env", f"PORT={port}"),
        *(backend["Config"]["Image"], *command),
    )
    try:
        for name in networks:
            if name != network:
                docker("network", "connect", name, identity)
        yield identity, f"http://127.0.0.1:{port}/ready"
    finally:
        docker("rm", "--force", "--volumes", identity)


def _start(identity: str, url: str) -> float:
    """Return the seconds from the start of the container's process until /ready returns 200."""
    docker("start", identity)
    try:
        servers.wait_until(f"200 of {url}", lambda: dockerized.has_status(url, 200), 60)
        ready_at = time.time()
        (data,) = json.loads(docker("container", "inspect", identity))
        return ready_at - _epoch(data["State"]["StartedAt"])
    finally:
        docker("kill", identity)
        docker("wait", identity)


def _epoch(stamp: str) -> float:
    from invoke_stack import timestamps

    return timestamps.parse(stamp).timestamp()


@contextlib.contextmanager
def notice(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time from Postgres's first response until a process that waits for it notices."""
    postgres, redis = fixtures.servers
    variables = {**postgres.environment("postgres"), **redis.environment()}
    variables |= {"PYTHONPATH": str(ROOT / "backend"), "RUN_DIR": str(fixtures.folder)}
    variables |= {"DB_WAIT_TIMEOUT": "60", "ENTRYPOINT_PID": str(os.getpid())}
    environment = servers.clean_environment(**variables)

    def delay(run: int, *command: str) -> float:
        postgres.stop()
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as waiting:
            time.sleep(1 + run % 10 / 10)  # a different moment between two polls in each run
            postgres.start(wait=False)
            while not postgres.ready():
                time.sleep(0.001)
            up_at = time.perf_counter()
            waiting.wait(60)
            return max(0.0, time.perf_counter() - up_at)

    try:
        ours, theirs = itertools.count(), itertools.count()
        yield (
            lambda: delay(next(ours), sys.executable, "-m", "app.boot.database_wait"),
            lambda: delay(next(theirs), "sh", "-c", POLLING),
        )
    finally:
        if postgres.process is None:
            postgres.start()


ROWS = (
    Row(
        "boot",
        "container start to the first 200 of `/ready`, schema current",
        "the same image with `uvicorn app.main:app` alone",
        Goal(1.6),
        container,
    ),
    Row(
        "notice",
        "entrypoint notices that Postgres is up",
        "the original entrypoint's polling every second",
        Goal(0.3),
        notice,
    ),
)
