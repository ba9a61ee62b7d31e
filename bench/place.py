"""What is measured: whole stacks in copies of the checkout, made when the first row wants them."""

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


class Place:
    """Stacks and servers in one temporary folder. A context: all of them go away with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._exit = ExitStack()

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @functools.cached_property
    def local(self) -> LocalStack:
        stack = self._exit.enter_context(local_stack(self.folder / "local"))
        stack.ok("up", timeout=LIMIT)
        return stack

    @functools.cached_property
    def compose(self) -> ComposeStack:
        stack = self._exit.enter_context(compose_stack(self.folder / "compose"))
        stack.ok("up", timeout=LIMIT)
        return stack

    @functools.cached_property
    def servers(self) -> tuple[Postgres, Redis]:
        """PostgreSQL and Valkey alone."""
        postgres = servers.make_postgres(self.folder / "postgres")
        redis = servers.make_redis(self.folder / "redis")
        for server in (postgres, redis):
            self._exit.enter_context(servers.running(server))
        return postgres, redis

    @functools.cached_property
    def long_log(self) -> ComposeStack:
        """A project whose one service has written ten million lines."""
        return self._exit.enter_context(projects.written(self.folder / "long", 1, 10_000_000))

    @functools.cached_property
    def empty(self) -> Path:
        """A folder with an empty tasks.py: what Invoke itself costs."""
        folder = self.folder / "empty"
        folder.mkdir()
        (folder / "tasks.py").touch()
        return folder


def inv(stack: Stack, *words: str) -> float:
    """Seconds that a verb takes."""
    return seconds(stack.command(*words), stack)


def shell(script: str, stack: Stack) -> float:
    """Seconds that a few commands take, as a user would type them."""
    return seconds(["sh", "-c", script], stack)


def seconds(words: Sequence[str], stack: Stack, code: int = 0) -> float:
    """Seconds that a command takes in the stack's folder; its output goes through a pipe."""
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        with subprocess.Popen(
            words,
            cwd=stack.root,
            env=stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process:
            end = threading.Timer(LIMIT, process.kill)
            end.start()
            assert process.stdout
            while process.stdout.read(1 << 20):
                pass
        elapsed = time.perf_counter() - begin
        end.cancel()
        errors.seek(0)
        wrong = errors.read().decode("utf-8", "replace").strip()
    assert process.returncode == code, (
        f"{shlex.join(words)} ended with {process.returncode}: {wrong}"
    )
    return elapsed


def docker(*words: str, timeout: float = LIMIT) -> str:
    return dockerized.docker(*words, timeout=timeout).stdout.strip()
