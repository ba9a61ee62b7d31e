"""Start a stack again, for the first time, and build an image after a change."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

from bench.fixtures import LIMIT, Fixtures, time_command, time_inv
from bench.measure import Action, Goal, Row
from deal_scout_profile import PROFILE
from harness.servers import clean_environment, wait_until
from harness.stacks import LocalStack, Stack, copy_checkout
from invoke_stack import config
from invoke_stack.runtimes.local import probes, stack


@contextlib.contextmanager
def again(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time `up` after `down`, compared with starting the services one after the other."""
    local = fixtures.local

    def up() -> float:
        local.ok("down")
        return time_inv(local, "up")

    def one_by_one() -> float:
        local.ok("down")
        return _start_one_by_one(local)

    try:
        yield up, one_by_one
    finally:
        local.ok("up", timeout=LIMIT)


def _start_one_by_one(local: LocalStack) -> float:
    """Start each service with its own command; return the sum of seconds until each is ready."""
    saved_stack = stack.load(local.state / "stack.json")
    assert saved_stack
    variables = config.stack_variables(local.root, {})
    run = local.state / "run"
    total = 0.0
    processes = []
    try:
        for program in stack.programs(local.root, local.state, saved_stack, variables):
            begin = time.perf_counter()
            (run / f"{program.name}.started").touch()
            processes.append(
                subprocess.Popen(
                    local.exec_command(program.name, *program.command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )

            def is_ready(name: str = program.name) -> bool:
                return not probes.problem(name, saved_stack, run, PROFILE.readiness)

            wait_until(f"{program.name} is ready", is_ready, 60)
            total += time.perf_counter() - begin
    finally:
        for process in reversed(processes):
            _stop(process)
    return total


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a service and its child processes."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    is_postgres = any(member.name() == "postgres" for member in family)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGINT if is_postgres else signal.SIGTERM)
    process.wait(60)
    psutil.wait_procs(family, 10)


@contextlib.contextmanager
def first(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time a bare checkout until its stack is ready, compared with the installation alone."""
    numbers = itertools.count()
    environment = clean_environment(INVOKE_STACK_RUNTIME="local")
    python = getattr(sys, "_base_executable", sys.executable)

    def bootstrap() -> float:
        folder = fixtures.folder / f"bare{next(numbers)}"
        folder.mkdir(mode=0o700)
        bare = Stack(copy_checkout(folder), "local", environment)
        try:
            return time_command([python, "scripts/inv.py", "up"], bare)
        finally:
            time_command([python, "scripts/inv.py", "down", "--volumes", "--yes"], bare)
            shutil.rmtree(folder)

    def install() -> float:
        folder = fixtures.folder / f"venv{next(numbers)}"
        subprocess.run([python, "-m", "venv", folder], check=True)
        lock = str(fixtures.local.root / "requirements.lock")
        arguments = ["install", "--require-hashes", "--only-binary", ":all:", "-r", lock]
        try:
            return time_command([str(folder / "bin" / "pip"), *arguments], fixtures.local)
        finally:
            shutil.rmtree(folder)

    yield bootstrap, install


@contextlib.contextmanager
def build(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Build the backend's image after a code change, compared with no change."""
    compose = fixtures.compose
    code = compose.root / "backend" / "app" / "main.py"
    command = ["docker", "compose", "build", "backend"]
    numbers = itertools.count()

    def changed() -> float:
        with code.open("a", encoding="utf-8") as file:
            file.write(f"# {os.getpid()}, {next(numbers)}\n")
        return time_command(command, compose)

    yield changed, lambda: time_command(command, compose)


ROWS = (
    Row(
        "up-again",
        "`inv up` on local, the second time, until ready",
        "its six services started one after the other by hand, until ready",
        Goal(1.5),
        again,
    ),
    Row(
        "up-first",
        "`python3 scripts/inv.py up` on a bare machine, local",
        "`pip install` of the lock alone",
        Goal(1.3),
        first,
    ),
    Row(
        "build",
        "image build after a code change",
        "the same Dockerfile, nothing changed",
        Goal(3.0, difference=True),
        build,
    ),
)
