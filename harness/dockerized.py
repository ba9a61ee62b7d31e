"""Images, containers and Compose projects on the Docker Engine of this machine, for tests.

All names are unique to the test run and everything is removed afterwards, so that several test runs
can share an engine with each other and with its owner.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.servers import PASSWORD, clean_environment, free_port, wait_until
from harness.stacks import ROOT, copy_checkout

RUN = f"test-{uuid.uuid4().hex[:8]}"  # in the name of everything that this process creates
SECRET = PASSWORD + '$x"\\y'  # a .env file can hold these characters, too
SERVICES = ("postgres", "redis", "backend", "worker", "beat", "frontend")

Result = subprocess.CompletedProcess[str]


def require_engine() -> None:
    """Skip the test if no engine with Compose answers, or fail it if REQUIRE_ENGINE is set."""
    if os.environ.get("TEST_TIER") == "quick":
        pytest.fail("needs an engine: mark it with pytest.mark.engine", pytrace=False)
    problem = _engine_problem()
    if problem and os.environ.get("REQUIRE_ENGINE", "0") not in ("", "0"):
        pytest.fail(f"{problem} (and REQUIRE_ENGINE is set)", pytrace=False)
    if problem:
        pytest.skip(problem)


@functools.cache
def _engine_problem() -> str:
    """Return why no engine can be used; empty if one can."""
    for arguments in (("version",), ("compose", "version")):
        try:
            result = _call("docker", *arguments, timeout=20)
        except FileNotFoundError:
            return "no Docker: `docker` is not in PATH. See tests/engine/README.md"
        except subprocess.TimeoutExpired:
            return f"no Docker: `docker {' '.join(arguments)}` does not answer"
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["it failed"])[-1]
            return f"no Docker: {reason} See tests/engine/README.md"
    return ""


def environment(**variables: str) -> dict[str, str]:
    """Return the environment for `docker`: without the stack's variables, with a CA for builds."""
    example = (ROOT / ".env.example").read_text("utf-8")
    names = {line.partition("=")[0] for line in example.splitlines()}
    inherited = {name: value for name, value in clean_environment().items() if name not in names}
    return inherited | {"DOCKER_BUILDKIT": "1", "CA_BUNDLE": _ca_bundle()} | variables


def _ca_bundle() -> str:
    file = os.environ.get("SSL_CERT_FILE", "")
    return file if Path(file).is_file() else ""


def docker(*arguments: str, ok: bool = True, timeout: float = 300, **options: Any) -> Result:
    """Run `docker`; it must succeed unless `ok` is False. `options` are for `subprocess.run`."""
    return _checked(_call("docker", *arguments, timeout=timeout, **options), ok)


def _call(*command: str, timeout: float, **options: Any) -> Result:
    return subprocess.run(
        command,
        env=options.pop("env", None) or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        **options,
    )


def _checked(result: Result, ok: bool) -> Result:
    failure = (result.args, result.returncode, result.stdout, result.stderr)
    assert not ok or result.returncode == 0, failure
    return result


# Images


@functools.cache
def build_image(name: str = "backend", root: Path = ROOT) -> str:
    """Build the image of `backend` or `frontend` of a checkout, once, and return its tag."""
    tag = f"deal-scout-{name}:{RUN}-{uuid.uuid4().hex[:4]}"
    options = ["--quiet", "--tag", tag]
    if name == "backend":
        options += ["--file", str(root / "backend" / "Dockerfile")]
        if _ca_bundle():
            options += ["--secret", f"id=ca,src={_ca_bundle()}"]
    docker("build", *options, str(root if name == "backend" else root / name), timeout=600)
    atexit.register(docker, "image", "rm", tag, ok=False)
    return tag


# Single containers


@dataclass(frozen=True)
class Container:
    """A container, running or not."""

    id: str

    def inspect(self) -> dict[str, Any]:
        """Return what `docker container inspect` prints for it."""
        (data,) = json.loads(docker("container", "inspect", self.id).stdout)
        return data

    def execute(self, *command: str, user: str = "", ok: bool = True) -> Result:
        """Run a command in the container; it must succeed unless `ok` is False."""
        as_user = ["--user", user] if user else []
        return docker("exec", *as_user, self.id, *command, ok=ok)

    def probe(self) -> Result:
        """Run the health check of the container once."""
        kind, *command = self.inspect()["Config"]["Healthcheck"]["Test"]
        return self.execute(*(["sh", "-c"] if kind == "CMD-SHELL" else []), *command, ok=False)

    def logs(self) -> str:
        """Return its log so far, both streams."""
        result = docker("logs", self.id)
        return result.stdout + result.stderr

    def url(self, port: int) -> str:
        """Return the URL at which a port of the container is published on this machine."""
        return f"http://{docker('port', self.id, f'{port}/tcp').stdout.split()[0]}"

    def stop(self, seconds: int = 30) -> float:
        """Stop the container with `docker stop` and return how many seconds that took."""
        started_at = time.monotonic()
        docker("stop", "--time", str(seconds), self.id)
        return time.monotonic() - started_at


@contextlib.contextmanager
def container(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """Run a container with these options of `docker run`; remove it on exit."""
    name = f"{RUN}-{uuid.uuid4().hex[:4]}"
    try:
        result = docker("run", "--detach", "--name", name, *options, image, *command)
        yield Container(result.stdout.strip())
    finally:
        docker("rm", "--force", "--volumes", name, ok=False)


def get(url: str) -> httpx.Response | None:
    """Return the response, or None without one within 3 s."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=3, trust_env=False)
    return None


def has_status(url: str, status: int) -> bool:
    """Return True if a GET request gets this status."""
    response = get(url)
    return response is not None and response.status_code == status


# Whole stacks


@dataclass(frozen=True)
class Project:
    """A checkout with a .env file, and its Compose project."""

    root: Path
    name: str
    port: int
    frontend_port: int

    @property
    def url(self) -> str:
        """The address of the backend."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def page(self) -> str:
        """The address of the frontend."""
        return f"http://127.0.0.1:{self.frontend_port}"

    def containers(self, service: str = "") -> list[Container]:
        """Return the containers of a service, by default of all, running or not."""
        ids = compose(self, "ps", "--all", "--quiet", *filter(None, [service])).stdout
        return [Container(id) for id in ids.split()]

    def container(self, service: str) -> Container:
        """Return the only container of a service."""
        (only,) = self.containers(service)
        return only

    def health(self) -> dict[str, str]:
        """Return the health of each service as the engine reports it, or how it exited."""
        health = {}
        for container in self.containers():
            data = container.inspect()
            state = data["State"]
            service = data["Config"]["Labels"]["com.docker.compose.service"]
            health[service] = (state.get("Health") or {}).get("Status", "no health check")
            if not state["Running"]:
                health[service] = f"{state['Status']} with {state['ExitCode']}"
        return health

    def wait_healthy(self, seconds: float = 120) -> None:
        """Wait until all six services are healthy; fail with their logs after `seconds`."""
        healthy = dict.fromkeys(SERVICES, "healthy")
        try:
            wait_until("all services are healthy", lambda: self.health() == healthy, seconds)
        except AssertionError as error:
            logs = compose(self, "logs", "--no-color", "--tail", "30", ok=False).stdout
            raise AssertionError(f"{error}: {self.health()}\n{logs}") from None


def compose(project: Project, *arguments: str, ok: bool = True, timeout: float = 300) -> Result:
    """Run `docker compose` in a project; it must succeed unless `ok` is False."""
    env = environment(COMPOSE_PROJECT_NAME=project.name)
    result = _call("docker", "compose", *arguments, timeout=timeout, cwd=project.root, env=env)
    return _checked(result, ok)


@contextlib.contextmanager
def project(folder: Path) -> Iterator[Project]:
    """Yield a fresh checkout in `folder` with a .env file; nothing is built or up.

    On exit its containers, networks, volumes and images are removed.
    """
    name = f"{RUN}-{uuid.uuid4().hex[:4]}"
    project = Project(copy_checkout(folder), name, free_port(), free_port())
    example = (folder / ".env.example").read_text("utf-8")
    filled = fill_in(
        example,
        POSTGRES_PASSWORD=f"'{SECRET}'",
        REDIS_PASSWORD=f"'{SECRET}'",
        PORT=str(project.port),
        FRONTEND_PORT=str(project.frontend_port),
        IMAGE_TAG=project.name,
    )
    (folder / ".env").write_text(filled, "utf-8")
    try:
        yield project
    finally:
        compose(project, "down", "--volumes", "--remove-orphans", "--timeout", "3")
        for service in ("backend", "frontend"):
            docker("image", "rm", f"deal-scout-{service}:{project.name}", ok=False)


def fill_in(example: str, **values: str) -> str:
    """Return the text of a .env file with the values of these variables replaced."""
    lines = []
    for line in example.splitlines():
        name = line.partition("=")[0]
        lines.append(f"{name}={values.pop(name)}" if name in values else line)
    assert not values, f"not in .env.example: {', '.join(values)}"
    return "\n".join(lines) + "\n"
