"""The stack up again, up for the first time, and an image after a change."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

from bench.measure import Action, Goal, Row
from bench.place import LIMIT, Place, inv, seconds
from deal_scout_profile import PROFILE
from harness.servers import clean_environment, wait_until
from harness.stacks import LocalStack, Stack, copy_checkout
from invoke_stack import config
from invoke_stack.runtimes.local import probes, stack


@contextlib.contextmanager
def again(place: Place) -> Iterator[tuple[Action, Action]]:
    """Up after a down, against its services by themselves, one after the other."""
    local = place.local

    def up() -> float:
        local.ok("down")
        return inv(local, "up")

    def alone() -> float:
        local.ok("down")
        return _one_by_one(local)

    try:
        yield up, alone
    finally:
        local.ok("up", timeout=LIMIT)


def _one_by_one(local: LocalStack) -> float:
    """Start each service by its own command; seconds until its own probe is content, added up."""
    remembered = stack.load(local.state / "stack.json")
    assert remembered
    user = config.stack_variables(local.root, {})
    run = local.state / "run"
    total = 0.0
    processes = []
    try:
        for program in stack.programs(local.root, local.state, remembered, user):
            begin = time.perf_counter()
            (run / f"{program.name}.started").touch()
            processes.append(
                subprocess.Popen(
                    local.beside(program.name, *program.command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )

            def is_ready(name: str = program.name) -> bool:
                return not probes.problem(name, remembered, run, PROFILE.readiness)

            wait_until(f"{program.name} is ready", is_ready, 60)
            total += time.perf_counter() - begin
    finally:
        for process in reversed(processes):
            _end(process)
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a service and what it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    postgres = any(each.name() == "postgres" for each in family)
    for each in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(2 if postgres else 15)
    process.wait(60)
    psutil.wait_procs(family, 10)


@contextlib.contextmanager
def first(place: Place) -> Iterator[tuple[Action, Action]]:
    """From a bare checkout to a stack that is ready, against the installation alone."""
    numbers = itertools.count()
    environment = clean_environment(INVOKE_STACK_RUNTIME="local")
    python = getattr(sys, "_base_executable", sys.executable)

    def bootstrap() -> float:
        folder = place.folder / f"bare{next(numbers)}"
        folder.mkdir(mode=0o700)
        bare = Stack(copy_checkout(folder), "local", environment)
        try:
            return seconds([python, "scripts/inv.py", "up"], bare)
        finally:
            seconds([python, "scripts/inv.py", "down", "--volumes", "--yes"], bare)
            shutil.rmtree(folder)

    def install() -> float:
        folder = place.folder / f"venv{next(numbers)}"
        subprocess.run([python, "-m", "venv", folder], check=True)
        lock = str(place.local.root / "requirements.lock")
        words = ["install", "--require-hashes", "--only-binary", ":all:", "-r", lock]
        try:
            return seconds([str(folder / "bin" / "pip"), *words], place.local)
        finally:
            shutil.rmtree(folder)

    yield bootstrap, install


@contextlib.contextmanager
def build(place: Place) -> Iterator[tuple[Action, Action]]:
    """The backend's image after a changed line of code, against nothing changed."""
    compose = place.compose
    code = compose.root / "backend" / "app" / "main.py"
    words = ["docker", "compose", "build", "backend"]
    numbers = itertools.count()

    def changed() -> float:
        with code.open("a", encoding="utf-8") as file:
            file.write(f"# {os.getpid()}, {next(numbers)}\n")
        return seconds(words, compose)

    yield changed, lambda: seconds(words, compose)


ROWS = (
    Row(
        "up-again",
        "`inv up` on local, the second time, to ready",
        "its six services started by themselves one after the other, to ready",
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
