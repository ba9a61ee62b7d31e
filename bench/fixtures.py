"""The stacks and servers that the benchmarks measure, and functions that time a command in them."""

from __future__ import annotations

import functools
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import projects
from harness import dockerized, servers
from harness.compose_stacks import ComposeStack, compose_stack
from harness.servers import Postgres, Redis
from harness.stacks import LocalStack, Stack, local_stack

LIMIT = 300.0  # seconds for any one command


class Fixtures:
    """Stacks and servers in one temporary folder, created on first use and removed on exit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._exit = ExitStack()

    def __enter__(self) -> Fixtures:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @functools.cached_property
    def local(self) -> LocalStack:
        """A stack of the runtime `local` that is up."""
        stack = self._exit.enter_context(local_stack(self.folder / "local"))
        stack.ok("up", timeout=LIMIT)
        return stack

    @functools.cached_property
    def compose(self) -> ComposeStack:
        """A stack of the runtime `compose` that is up."""
        stack = self._exit.enter_context(compose_stack(self.folder / "compose"))
        stack.ok("up", timeout=LIMIT)
        return stack

    @functools.cached_property
    def servers(self) -> tuple[Postgres, Redis]:
        """PostgreSQL and Valkey without a stack."""
        postgres = servers.make_postgres(self.folder / "postgres")
        redis = servers.make_redis(self.folder / "redis")
        for server in (postgres, redis):
            self._exit.enter_context(servers.running(server))
        return postgres, redis

    @functools.cached_property
    def long_log(self) -> ComposeStack:
        """A project with one service, which has logged ten million lines."""
        return self._exit.enter_context(projects.logged(self.folder / "long", 1, 10_000_000))

    @functools.cached_property
    def empty(self) -> Path:
        """A folder with an empty tasks.py, to measure Invoke alone."""
        folder = self.folder / "empty"
        folder.mkdir()
        (folder / "tasks.py").touch()
        return folder


def time_inv(stack: Stack, *arguments: str) -> float:
    """Return how many seconds `inv` takes with these arguments."""
    return time_command(stack.command(*arguments), stack)


def time_shell(script: str, stack: Stack) -> float:
    """Return how many seconds a shell script takes."""
    return time_command(["sh", "-c", script], stack)


def time_command(command: Sequence[str], stack: Stack, code: int = 0) -> float:
    """Return how many seconds a command takes in the stack's folder, with a pipe as its stdout.

    The command must end with the exit code `code`, within `LIMIT` seconds.
    """
    with tempfile.TemporaryFile() as stderr:
        begin = time.perf_counter()
        with subprocess.Popen(
            command,
            cwd=stack.root,
            env=stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process:
            timer = threading.Timer(LIMIT, process.kill)
            timer.start()
            assert process.stdout
            while process.stdout.read(1 << 20):
                pass
        elapsed = time.perf_counter() - begin
        timer.cancel()
        stderr.seek(0)
        error_output = stderr.read().decode("utf-8", "replace").strip()
    assert process.returncode == code, (
        f"{shlex.join(command)} ended with {process.returncode}: {error_output}"
    )
    return elapsed


def docker(*arguments: str, timeout: float = LIMIT) -> str:
    """Run `docker` and return its output."""
    return dockerized.docker(*arguments, timeout=timeout).stdout.strip()
