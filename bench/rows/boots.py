"""The backend's entrypoint: what it adds to a start, and how soon it notices the database."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.measure import Action, Goal, Row
from bench.place import Place, docker
from harness import dockerized, servers
from harness.stacks import ROOT

# The source's own loop; how it waits is all that matters here.
POLLING = 'until nc -z "$DB_HOST" "$DB_PORT"; do sleep 1; done'


@contextlib.contextmanager
def container(place: Place) -> Iterator[tuple[Action, Action]]:
    """From the container's start to the first 200, with the stack's own database."""
    uvicorn = "exec uvicorn app.main:app --host 0.0.0.0 --port $PORT --no-server-header"
    with contextlib.ExitStack() as made:
        ours = made.enter_context(_created(place))
        theirs = made.enter_context(_created(place, "sh", "-c", uvicorn))
        yield lambda: _start(*ours), lambda: _start(*theirs)


@contextlib.contextmanager
def _created(place: Place, *command: str) -> Iterator[tuple[str, str]]:
    """A container like the stack's backend, not started; its id, and where it will be ready."""
    like = place.compose.inspect("backend")
    port = servers.free_port()
    settings = [word for entry in like["Config"]["Env"] for word in ("--env", entry)]
    networks = sorted(like["NetworkSettings"]["Networks"])
    outward = next(name for name in networks if name.endswith("_default"))
    identity = docker(
        *("create", "--init", "--read-only", "--tmpfs", "/tmp:mode=1777", "--network", outward),
        *("--publish", f"127.0.0.1:{port}:{port}", *settings, "--env", f"PORT={port}"),
        *(like["Config"]["Image"], *command),
    )
    try:
        for name in networks:
            if name != outward:
                docker("network", "connect", name, identity)
        yield identity, f"http://127.0.0.1:{port}/ready"
    finally:
        docker("rm", "--force", "--volumes", identity)


def _start(identity: str, url: str) -> float:
    """Seconds from the start of the container's process to the first 200 of /ready."""
    docker("start", identity)
    try:
        servers.wait_until(f"200 of {url}", lambda: dockerized.has_status(url, 200), 60)
        ready = time.time()
        (data,) = json.loads(docker("container", "inspect", identity))
        return ready - _epoch(data["State"]["StartedAt"])
    finally:
        docker("kill", identity)
        docker("wait", identity)


def _epoch(stamp: str) -> float:
    from invoke_stack import timestamps

    return timestamps.parse(stamp).timestamp()


@contextlib.contextmanager
def notice(place: Place) -> Iterator[tuple[Action, Action]]:
    """From Postgres's first answer until who waits for it knows."""
    postgres, redis = place.servers
    variables = {**postgres.environment("postgres"), **redis.environment()}
    variables |= {"PYTHONPATH": str(ROOT / "backend"), "RUN_DIR": str(place.folder)}
    variables |= {"DB_WAIT_TIMEOUT": "60", "ENTRYPOINT_PID": str(os.getpid())}
    environment = servers.clean_environment(**variables)

    def delay(moment: int, *words: str) -> float:
        postgres.stop()
        with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as waiting:
            time.sleep(1 + moment % 10 / 10)  # at all the moments between two looks
            postgres.start(wait=False)
            while not postgres.ready():
                time.sleep(0.001)
            up = time.perf_counter()
            waiting.wait(60)
            return max(0.0, time.perf_counter() - up)

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
        "the source's own polling every second",
        Goal(0.3),
        notice,
    ),
)
