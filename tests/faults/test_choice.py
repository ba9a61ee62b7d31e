"""Which runtime `auto` chooses if a stack exists but is not running, or its engine is down."""

import contextlib
import hashlib
import json
import socket
import time
import uuid

import pytest

from harness import dockerized, engines
from harness.compose_stacks import ComposeStack
from harness.stacks import LocalStack, Stack, copy_checkout
from invoke_stack.runtimes import record

pytestmark = pytest.mark.engine

PROJECT = """
services:
  quiet:
    image: {image}
    build: ./quiet
    command: [sleep, "1000"]
    init: true
    volumes: ["data:/data"]
volumes: {{data: }}
"""


def checkout(folder):
    """Create a checkout of deal-scout with a small Compose project instead of its own.

    Returns its environment, in which no variable chooses the runtime. Health comes from the checks
    of the containers.
    """
    copy_checkout(folder)
    name = f"{dockerized.RUN}-{uuid.uuid4().hex[:4]}"
    (folder / "quiet").mkdir()
    (folder / "quiet" / "Dockerfile").write_text(f"FROM {name}-base\n", "utf-8")
    (folder / "docker-compose.yml").write_text(PROJECT.format(image=f"{name}-quiet:1"), "utf-8")
    return dockerized.environment(
        COMPOSE_PROJECT_NAME=name,
        INVOKE_STACK_READY="",
        INVOKE_STACK_SERVICE="quiet",
        POSTGRES_PASSWORD="unused",
    )


def without_engine(environment, folder):
    """Return the environment with a current Docker context whose engine does not exist."""
    meta = folder / "contexts" / "meta" / hashlib.sha256(b"missing").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": f"unix://{folder}/docker.sock", "SkipTLSVerify": False}
    meta.write_text(
        json.dumps({"Name": "missing", "Metadata": {}, "Endpoints": {"docker": endpoint}})
    )
    (folder / "config.json").write_text(json.dumps({"currentContext": "missing"}))
    removed = ("DOCKER_HOST", "DOCKER_CONTEXT")
    others = {name: value for name, value in environment.items() if name not in removed}
    return others | {"DOCKER_CONFIG": str(folder)}


@pytest.fixture
def compose(tmp_path):
    """Yield the project on the shared engine: up, with its image but without its base image."""
    dockerized.require_engine()
    folder = tmp_path / "checkout"
    stack = ComposeStack(folder, environment=checkout(folder))
    base = f"{stack.project}-base"
    dockerized.docker("tag", "redis:7", base)
    try:
        stack.compose("up", "--detach", "--build")
        stack.compose("exec", "-T", "quiet", "touch", "/data/precious")
        dockerized.docker("rmi", base)
        yield stack
    finally:
        stack.inv("down", "--volumes", "--yes", "--runtime", "local")
        stack.compose("down", "--volumes", "--rmi", "all", "--timeout", "1", ok=False)
        dockerized.docker("rmi", base, ok=False)


def runtime_notice(stack, **env):
    """Return the notice of `up --dry-run`, which must succeed."""
    done = stack.inv("up", "--dry-run", env=env)
    assert done.returncode == 0, done
    [notice] = [line for line in done.stderr.splitlines() if line.startswith("runtime: ")]
    return notice


def test_f36_auto_chooses_compose_when_base_image_is_missing(compose, measured):
    assert runtime_notice(compose) == "runtime: compose (its stack is up)"
    compose.compose("stop", "--timeout", "1")
    assert runtime_notice(compose) == "runtime: compose (its stack is stopped)"
    compose.compose("down")
    assert runtime_notice(compose) == "runtime: compose (it has the data of this project)"
    assert record.read(compose.root / ".local") == ""  # nothing has been started here yet
    compose.ok("up", "--timeout", "60")
    compose.compose("exec", "-T", "quiet", "test", "-f", "/data/precious")
    assert record.read(compose.root / ".local") == "compose"
    assert (
        runtime_notice(compose) == "runtime: compose (this checkout used it last; its stack is up)"
    )
    compose.ok("down", "--volumes", "--yes")
    assert record.read(compose.root / ".local") == ""
    assert runtime_notice(compose).startswith("runtime: compose (an engine answers")
    compose.compose("down", "--rmi", "all")
    assert "-base cannot be pulled" in runtime_notice(compose)
    assert not (compose.root / ".local" / "stack.json").exists()
    measured("the Compose stack with its data, stopped or down, without its base image")


def test_f36_auto_refuses_when_last_engine_is_down(compose, tmp_path, measured):
    compose.ok("up", "--timeout", "60")
    disconnected = Stack(compose.root, "", without_engine(compose.environment, tmp_path / "docker"))
    for command in ("up", "up --dry-run", "down", "status", "health", "logs", "restart quiet"):
        done = disconnected.inv(*command.split())
        assert done.returncode == 4, done
        assert "this checkout used compose last" in done.stderr
        assert "--runtime local" in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert not (compose.root / ".local" / "stack.json").exists()
    doctor = disconnected.inv("doctor")
    assert doctor.returncode == 3
    assert "✗ Docker does not answer: its socket does not exist\n" in doctor.stdout
    measured("exit 4 with `--runtime local` as the other choice")


def test_f36_auto_chooses_local_without_engine_and_refuses_two_running_stacks(
    compose, tmp_path, measured
):
    unreachable = without_engine(compose.environment, tmp_path / "docker")
    settings = {"INVOKE_STACK_READY": "/ready", "INVOKE_STACK_SERVICE": "backend"}
    local = LocalStack(compose.root, environment=unreachable | settings)
    done = local.inv("up", timeout=300)
    assert done.returncode == 0, done
    notice = "runtime: local (Docker does not answer: its socket does not exist)"
    assert done.stderr.startswith(f"{notice}\n")
    assert record.read(compose.root / ".local") == "local"
    # The engine is back, with a stack of this project on it.
    for command in ("up", "down", "status", "restart quiet"):
        done = compose.inv(*command.split())
        assert done.returncode == 4, done
        assert "compose and on local" in done.stderr
        assert "inv down --runtime local" in done.stderr
        assert len(done.stderr.splitlines()) == 2
    doctor = compose.inv("doctor")
    assert doctor.returncode == 3
    assert "✗ stacks of this project are running on compose and on local\n" in doctor.stdout
    assert local.is_healthy()
    # An engine that hangs does not block the commands of a stack that is known to be up.
    with hanging_engine(tmp_path / "hanging.sock") as address:
        started_at = time.monotonic()
        done = local.inv("health", env={"DOCKER_HOST": address})
        seconds = time.monotonic() - started_at
    assert done.returncode == 0, done
    assert "cannot check for another one: Docker does not answer: no answer" in done.stderr
    assert seconds < 10  # not the 30 s of the default timeout
    measured("local with a notice on a fresh checkout; exit 4 naming both while both run")


@contextlib.contextmanager
def hanging_engine(path):
    """Yield the address of an engine that accepts connections and never responds."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield f"unix://{path}"


def test_f36_auto_chooses_swarm_when_it_has_stack_or_data(tmp_path):
    with engines.engine() as engine:
        folder = tmp_path / "checkout"
        stack = Stack(folder, "", checkout(folder) | {"DOCKER_HOST": engine.host})
        name = stack.environment["COMPOSE_PROJECT_NAME"]
        label = ("--label", f"com.docker.stack.namespace={name}")
        engine.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        service = ("service", "create", *label, "--detach", "--replicas", "0")
        engine.docker(*service, "--name", f"{name}_quiet", "--no-resolve-image", "redis:7")
        done = stack.inv("status")
        assert done.stderr.startswith("runtime: swarm (its stack is up)\n")
        engine.docker("service", "rm", f"{name}_quiet")
        engine.docker("volume", "create", *label, f"{name}_data")
        done = stack.inv("status")
        assert done.stderr.startswith("runtime: swarm (it has the data of this project)\n")
        engine.docker("volume", "rm", f"{name}_data")
        done = stack.inv("status")
        assert done.stderr.startswith("runtime: local (Docker is running, but the image ")
