"""Stacks of the `compose` runtime, for tests and benchmarks."""

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

INIT_PROCESSES = ("docker-init", "tini")


@dataclass
class ComposeStack(Stack):
    """A checkout whose services run on a Docker Engine."""

    runtime: str = "compose"

    @property
    def project(self) -> str:
        """The name of the Compose project."""
        return self.environment["COMPOSE_PROJECT_NAME"]

    def compose(self, *arguments: str, ok: bool = True, timeout: float = 300) -> dockerized.Result:
        """Run `docker compose` in the checkout; it must succeed unless `ok` is False."""
        return dockerized.docker(
            "compose", *arguments, ok=ok, timeout=timeout, cwd=self.root, env=self.environment
        )

    def backend_port(self) -> int | None:
        """Return the port of the backend on this machine; None if unknown."""
        port = self.environment.get("PORT")
        return int(port) if port else None

    def containers(self, service: str) -> list[str]:
        """Return the ids of the containers of a service, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.split()

    def exec_command(self, service: str, *command: str) -> list[str]:
        """Return the command line that runs a command in the environment of a service."""
        return ["docker", "compose", "exec", "-T", service, *command]

    def inspect(self, service: str) -> dict:  # type: ignore[type-arg]
        """Return what `docker inspect` prints for the first container of a service."""
        output = dockerized.docker("inspect", self.containers(service)[0]).stdout
        return json.loads(output)[0]

    def pids(self, service: str) -> list[int]:
        """Return the process ids of a service, its main process first."""
        container = self.containers(service)[0]
        output = dockerized.docker("top", container, "-eo", "pid,ppid,comm").stdout
        rows = [row.split(maxsplit=2) for row in output.splitlines()[1:]]
        parents = {
            int(pid): int(parent) for pid, parent, name in rows if name not in INIT_PROCESSES
        }
        # `docker top` sorts by process id, which wraps around.
        return sorted(parents, key=lambda pid: parents[pid] in parents)


@contextlib.contextmanager
def compose_stack(folder: Path) -> Iterator[ComposeStack]:
    """Yield a stack that is not up, with its own project and ports; remove all of it on exit."""
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
