"""A real Docker Engine for tests: found or skipped; our images, single containers and whole stacks on it.

Everything made here has a name of its own and goes away again, so that any number of test runs may
share the engine with each other and with its owner.
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

RUN = f"test-{uuid.uuid4().hex[:8]}"  # one for all that this process makes
SECRET = PASSWORD + '$x"\\y'  # what a .env may hold, too
SERVICES = ("postgres", "redis", "backend", "worker", "beat", "frontend")

Done = subprocess.CompletedProcess[str]


def require_engine() -> None:
    """Skip the test unless an engine with Compose answers; fail it when REQUIRE_ENGINE is set."""
    if os.environ.get("TEST_TIER") == "quick":
        pytest.fail("needs an engine: mark it with pytest.mark.engine", pytrace=False)
    problem = _look_for_engine()
    if problem and os.environ.get("REQUIRE_ENGINE", "0") not in ("", "0"):
        pytest.fail(f"{problem} (and REQUIRE_ENGINE is set)", pytrace=False)
    if problem:
        pytest.skip(problem)


@functools.cache
def _look_for_engine() -> str:
    """Why there is no engine; empty if there is one."""
    for words in (("version",), ("compose", "version")):
        try:
            done = _call("docker", *words, timeout=20)
        except FileNotFoundError:
            return "no Docker: `docker` is not in PATH. See tests/engine/README.md"
        except subprocess.TimeoutExpired:
            return f"no Docker: `docker {' '.join(words)}` does not answer"
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["it failed"])[-1]
            return f"no Docker: {why} See tests/engine/README.md"
    return ""


def environment(**more: str) -> dict[str, str]:
    """This process's environment without any variable of the stack, and with a CA for builds."""
    example = (ROOT / ".env.example").read_text("utf-8")
    names = {line.partition("=")[0] for line in example.splitlines()}
    kept = {name: value for name, value in clean_environment().items() if name not in names}
    return kept | {"DOCKER_BUILDKIT": "1", "CA_BUNDLE": _authorities()} | more


def _authorities() -> str:
    file = os.environ.get("SSL_CERT_FILE", "")
    return file if Path(file).is_file() else ""


def docker(*words: str, ok: bool = True, timeout: float = 300, **more: Any) -> Done:
    """Run `docker`. Unless `ok` is False it must succeed."""
    return _checked(_call("docker", *words, timeout=timeout, **more), ok)


def _call(*words: str, timeout: float, **more: Any) -> Done:
    return subprocess.run(
        words,
        env=more.pop("env", None) or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        **more,
    )


def _checked(done: Done, ok: bool) -> Done:
    assert not ok or done.returncode == 0, (done.args, done.returncode, done.stdout, done.stderr)
    return done


# Images


@functools.cache
def build_image(name: str = "backend", root: Path = ROOT) -> str:
    """The image for `backend` or `frontend` of a checkout, built once; its tag."""
    tag = f"deal-scout-{name}:{RUN}-{uuid.uuid4().hex[:4]}"
    words = ["build", "--quiet", "--tag", tag]
    if name == "backend":
        words += ["--file", str(root / "backend" / "Dockerfile")]
        if _authorities():
            words += ["--secret", f"id=ca,src={_authorities()}"]
    docker(*words, str(root if name == "backend" else root / name), timeout=600)
    atexit.register(docker, "image", "rm", tag, ok=False)
    return tag


# Single containers


@dataclass(frozen=True)
class Container:
    """A container that runs, or has run."""

    id: str

    def inspect(self) -> dict[str, Any]:
        (data,) = json.loads(docker("container", "inspect", self.id).stdout)
        return data

    def execute(self, *words: str, user: str = "", ok: bool = True) -> Done:
        """Run a command in it."""
        as_user = ["--user", user] if user else []
        return docker("exec", *as_user, self.id, *words, ok=ok)

    def probe(self) -> Done:
        """Run its health check now, as the engine does every few seconds."""
        kind, *words = self.inspect()["Config"]["Healthcheck"]["Test"]
        return self.execute(*(["sh", "-c"] if kind == "CMD-SHELL" else []), *words, ok=False)

    def logs(self) -> str:
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def url(self, port: int) -> str:
        """Where a port of it is published on this machine."""
        return f"http://{docker('port', self.id, f'{port}/tcp').stdout.split()[0]}"

    def stop(self, seconds: int = 30) -> float:
        """Stop it as `docker stop` does, and tell how many seconds that took."""
        began = time.monotonic()
        docker("stop", "--time", str(seconds), self.id)
        return time.monotonic() - began


@contextlib.contextmanager
def container(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """`docker run` with these options, and nothing else; removed afterwards."""
    name = f"{RUN}-{uuid.uuid4().hex[:4]}"
    try:
        done = docker("run", "--detach", "--name", name, *options, image, *command)
        yield Container(done.stdout.strip())
    finally:
        docker("rm", "--force", "--volumes", name, ok=False)


def get(url: str) -> httpx.Response | None:
    """The answer; None when there is none within 3 s."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=3, trust_env=False)
    return None


def has_status(url: str, status: int) -> bool:
    answer = get(url)
    return answer is not None and answer.status_code == status


# Whole stacks


@dataclass(frozen=True)
class Project:
    """A checkout with a .env, and the Compose project in it."""

    root: Path
    name: str
    port: int
    frontend_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.frontend_port}"

    def containers(self, service: str = "") -> list[Container]:
        """Those there are, running or not."""
        ids = compose(self, "ps", "--all", "--quiet", *filter(None, [service])).stdout
        return [Container(id) for id in ids.split()]

    def container(self, service: str) -> Container:
        (only,) = self.containers(service)
        return only

    def health(self) -> dict[str, str]:
        """What the engine says of each service: `healthy`, or what else it is."""
        found = {}
        for each in self.containers():
            data = each.inspect()
            state = data["State"]
            service = data["Config"]["Labels"]["com.docker.compose.service"]
            found[service] = (state.get("Health") or {}).get("Status", "no health check")
            if not state["Running"]:
                found[service] = f"{state['Status']} with {state['ExitCode']}"
        return found

    def wait_healthy(self, seconds: float = 120) -> None:
        """Wait until all six services are healthy; fail with what they said."""
        wanted = dict.fromkeys(SERVICES, "healthy")
        try:
            wait_until("all services are healthy", lambda: self.health() == wanted, seconds)
        except AssertionError as error:
            logs = compose(self, "logs", "--no-color", "--tail", "30", ok=False).stdout
            raise AssertionError(f"{error}: {self.health()}\n{logs}") from None


def compose(project: Project, *words: str, ok: bool = True, timeout: float = 300) -> Done:
    """Run `docker compose` in a project as a user does. Unless `ok` is False it must succeed."""
    env = environment(COMPOSE_PROJECT_NAME=project.name)
    done = _call("docker", "compose", *words, timeout=timeout, cwd=project.root, env=env)
    return _checked(done, ok)


@contextlib.contextmanager
def project(folder: Path) -> Iterator[Project]:
    """A fresh checkout in `folder` with a .env made from .env.example; nothing is up, or built.

    In the end all of it goes: containers, networks, volumes, images.
    """
    made = Project(copy_checkout(folder), f"{RUN}-{uuid.uuid4().hex[:4]}", free_port(), free_port())
    example = (folder / ".env.example").read_text("utf-8")
    filled = fill_in(
        example,
        POSTGRES_PASSWORD=f"'{SECRET}'",
        REDIS_PASSWORD=f"'{SECRET}'",
        PORT=str(made.port),
        FRONTEND_PORT=str(made.frontend_port),
        IMAGE_TAG=made.name,
    )
    (folder / ".env").write_text(filled, "utf-8")
    try:
        yield made
    finally:
        compose(made, "down", "--volumes", "--remove-orphans", "--timeout", "3")
        for name in ("backend", "frontend"):
            docker("image", "rm", f"deal-scout-{name}:{made.name}", ok=False)


def fill_in(example: str, **values: str) -> str:
    """The text of a .env file with these values in place of those that it has."""
    lines = []
    for line in example.splitlines():
        name = line.partition("=")[0]
        lines.append(f"{name}={values.pop(name)}" if name in values else line)
    assert not values, f"not in .env.example: {', '.join(values)}"
    return "\n".join(lines) + "\n"
