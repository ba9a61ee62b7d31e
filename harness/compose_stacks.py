"""A whole stack on a real Docker Engine, for the tests that run on every runtime."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import dockerized
from harness.servers import free_port
from harness.stacks import Stack, copy_checkout

INITS = ("docker-init", "tini")


@dataclass
class ComposeStack(Stack):
    runtime: str = "compose"

    @property
    def project(self) -> str:
        return self.environment["COMPOSE_PROJECT_NAME"]

    def compose(self, *words: str, ok: bool = True, timeout: float = 300) -> dockerized.Done:
        """Run `docker compose` by hand."""
        return dockerized.docker(
            "compose", *words, ok=ok, timeout=timeout, cwd=self.root, env=self.environment
        )

    def backend_port(self) -> int | None:
        port = self.environment.get("PORT")
        return int(port) if port else None

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--all", "--quiet", service).stdout.split()

    def exec_command(self, service: str, *words: str) -> list[str]:
        return ["docker", "compose", "exec", "-T", service, *words]

    def inspect(self, service: str) -> dict:  # type: ignore[type-arg]
        said = dockerized.docker("inspect", self.containers(service)[0]).stdout
        return json.loads(said)[0]

    def pids(self, service: str) -> list[int]:
        said = dockerized.docker("top", self.containers(service)[0], "-eo", "pid,ppid,comm").stdout
        rows = [row.split(maxsplit=2) for row in said.splitlines()[1:]]
        parents = {int(pid): int(parent) for pid, parent, name in rows if name not in INITS}
        # They come in the order of their numbers, and those begin anew one day.
        return sorted(parents, key=lambda pid: parents[pid] in parents)


@contextlib.contextmanager
def compose_stack(folder: Path) -> Iterator[ComposeStack]:
    """A checkout with nothing up, and ports and a project of its own; all of it goes away again."""
    dockerized.require_engine()
    name = f"{dockerized.RUN}-{uuid.uuid4().hex[:4]}"
    environment = dockerized.environment(
        COMPOSE_PROJECT_NAME=name,
        IMAGE_TAG=name,
        PORT=str(free_port()),
        FRONTEND_PORT=str(free_port()),
        INVOKE_STACK_RUNTIME="compose",
    )
    stack = ComposeStack(copy_checkout(folder), environment=environment)
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local", "--timeout", "2", ok=False)
