"""Stacks of the `swarm` runtime, on one or several nodes."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shutil
import signal
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness import dockerized
from harness.stacks import ROOT, Stack, copy_checkout
from tests.support.nodes import Node, nodes


@dataclass
class SwarmStack(Stack):
    """A checkout whose services run on Docker Swarm."""

    runtime: str = "swarm"
    node: Node = None  # type: ignore[assignment]  # the manager

    def container(self, service: str) -> str:
        """Return the id of a container of a service on the manager."""
        name = f"{self.environment['COMPOSE_PROJECT_NAME']}_{service}"
        label = f"label=com.docker.swarm.service.name={name}"
        return self.node.docker("ps", "--quiet", "--filter", label).stdout.split()[0]

    def exec_command(self, service: str, *command: str) -> list[str]:
        """Return the command line that runs a command in the environment of a service."""
        return ["docker", "exec", self.container(service), *command]

    def url(self, service: str = "backend") -> str:
        """Return the address of a service; that of the backend is the proxy of the frontend."""
        page = f"http://{self.node.address}:3000"
        return f"{page}/api" if service == "backend" else page

    def kill(self, service: str, sig: signal.Signals | None = None) -> None:
        """Send a signal to a container of a service on the manager, by default SIGKILL."""
        name = (sig or signal.SIGKILL).name
        self.node.docker("kill", "--signal", name, self.container(service))


@contextlib.contextmanager
def swarm_stack(folder: Path) -> Iterator[SwarmStack]:
    """Yield a stack that is not up, on a swarm of one node."""
    with swarm(1) as machines:
        yield checkout(folder, machines[0])


@contextlib.contextmanager
def swarm(count: int) -> Iterator[list[Node]]:
    """Yield the nodes of a swarm, the first its manager; all of them have the images."""
    with nodes(count) as machines:
        manager, *workers = machines
        listen = ("--advertise-addr", manager.address, "--listen-addr", manager.address)
        manager.docker("swarm", "init", *listen)
        token = manager.docker("swarm", "join-token", "--quiet", "worker").stdout.strip()
        for node in workers:
            listen = ("--advertise-addr", node.address, "--listen-addr", node.address)
            node.docker("swarm", "join", "--token", token, *listen, manager.address)
        _, archive = images()
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda node: node.docker("load", "--input", str(archive)), machines))
        yield machines


def checkout(folder: Path, manager: Node) -> SwarmStack:
    """Create a checkout with short health check intervals, so that tests wait less."""
    copy_checkout(folder)
    for name in ("docker-compose.yml", "deploy/swarm.yml"):
        text = (folder / name).read_text("utf-8")
        for before, after in (("interval: 10s", "interval: 2s"), ("interval: 5s", "interval: 1s")):
            text = text.replace(before, after)
        (folder / name).write_text(text, "utf-8")
    environment = dockerized.environment(
        DOCKER_HOST=manager.host,
        COMPOSE_PROJECT_NAME=f"shop-{uuid.uuid4().hex[:4]}",
        IMAGE_TAG=images()[0],
        INVOKE_STACK_RUNTIME="swarm",
    )
    return SwarmStack(folder, environment=environment, node=manager)


@functools.cache
def images() -> tuple[str, Path]:
    """Build our images; return their tag and an archive of all images, as there is no registry."""
    tag = dockerized.RUN
    ours = []
    for name in ("backend", "frontend"):
        ours.append(f"deal-scout-{name}:{tag}")
        dockerized.docker("tag", dockerized.build_image(name, ROOT), ours[-1])
    archive = Path(tempfile.mkdtemp(prefix="images-")) / "images.tar"
    atexit.register(shutil.rmtree, archive.parent, ignore_errors=True)
    dockerized.docker("save", "--output", str(archive), *ours, "postgres:17", "redis:7")
    dockerized.docker("rmi", *ours)
    return tag, archive
